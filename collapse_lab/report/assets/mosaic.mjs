// Feature maps of one image: at most 64 channels, eight in a row.
import { SEQUENCE } from "./colour.mjs";
import { paint } from "./heatmap.mjs";

const ACROSS = 8;

/** Rows of codes of all maps, -1 between them. */
export function mosaicRows({ side, channels, values }) {
  const width = ACROSS * (side + 1) - 1;
  const height = Math.ceil(channels / ACROSS) * (side + 1) - 1;
  const rows = Array.from({ length: height }, () => new Array(width).fill(-1));
  for (let channel = 0; channel < channels; channel++) {
    const top = Math.floor(channel / ACROSS) * (side + 1);
    const left = (channel % ACROSS) * (side + 1);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) rows[top + y][left + x] = values[(channel * side + y) * side + x];
    }
  }
  return rows;
}

/** Paint the maps into a canvas. */
export function paintMosaic(canvas, maps) {
  paint(canvas, mosaicRows(maps), SEQUENCE, [0, 0, 0, 0]);
}
