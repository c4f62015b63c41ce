// Heatmaps on a canvas: one pixel a cell, enlarged without smoothing; values are read by pointer or arrow keys.
import { codeOf } from "./colour.mjs";
import { el } from "./dom.mjs";

/** Paint rows of codes (-1: no value) with a table of colours into a canvas of one pixel a cell. */
export function paint(canvas, rows, colours, empty = [128, 128, 128, 40]) {
  canvas.width = Math.max(1, rows[0]?.length ?? 1);
  canvas.height = Math.max(1, rows.length);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  rows.forEach((row, y) =>
    row.forEach((code, x) => {
      const pixel = code < 0 ? empty : [...colours[code], 255];
      image.data.set(pixel, 4 * (y * canvas.width + x));
    }),
  );
  pen.putImageData(image, 0, 0);
}

/** A heatmap of numbers. `tell(row, column)` gives the lines of its tooltip; `choose(row)` is called on click and Enter;
 * `hover(row, column)` on every move, (-1, -1) at the end. */
export function heatmap({ rows, ends, colours, height, label, tell, choose, hover = () => {} }) {
  const canvas = el("canvas", { class: "cells", tabindex: "0", role: "img", "aria-label": label });
  const mark = el("div", { class: "mark", hidden: true });
  const tip = el("div", { class: "tip", hidden: true });
  const root = el("div", { class: "heat" }, canvas, mark, tip);
  const wide = rows[0].length;
  let at = [-1, -1];
  paint(canvas, rows.map((row) => row.map((value) => codeOf(value, ends))), colours);
  canvas.style.height = `${height}px`;

  const show = (row, column, quiet) => {
    at = [row, column];
    mark.hidden = tip.hidden = row < 0;
    if (row >= 0) {
      const cell = [canvas.clientWidth / wide, canvas.clientHeight / rows.length];
      mark.style.width = `${cell[0]}px`;
      mark.style.height = `${cell[1]}px`;
      mark.style.transform = `translate(${column * cell[0]}px, ${row * cell[1]}px)`;
      const [head, ...lines] = tell(row, column);
      tip.replaceChildren(el("div", { class: "head" }, head), ...lines.map((line) => el("div", {}, line)));
      const left = Math.min(canvas.clientWidth - 150, (column + 1) * cell[0] + 8);
      tip.style.transform = `translate(${Math.max(0, left)}px, ${Math.min(canvas.clientHeight - 20, (row + 1) * cell[1])}px)`;
    }
    if (!quiet) hover(row, column);
  };
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * rows.length);
    const column = Math.floor(((event.clientX - box.left) / box.width) * wide);
    return [Math.min(rows.length - 1, Math.max(0, row)), Math.min(wide - 1, Math.max(0, column))];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [row, column] = placeOf(event);
    if (row !== at[0] || column !== at[1]) show(row, column);
  });
  canvas.addEventListener("pointerleave", () => show(-1, -1));
  canvas.addEventListener("blur", () => show(-1, -1));
  canvas.addEventListener("click", (event) => choose?.(placeOf(event)[0]));
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" && at[0] >= 0) choose?.(at[0]);
    if (!moves[event.key]) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    const from = at[0] < 0 ? [0, 0] : [at[0] + down, at[1] + right];
    show(Math.min(rows.length - 1, Math.max(0, from[0])), Math.min(wide - 1, Math.max(0, from[1])));
  });
  return { root, canvas, show };
}

/** The bar that says which colour is which value. */
export function colourBar(colours, low, high, label) {
  const canvas = el("canvas", { role: "img", "aria-label": `Colours from ${low} to ${high}: ${label}` });
  paint(canvas, [Array.from({ length: 256 }, (_, code) => code)], colours);
  return el("div", { class: "key" }, el("span", {}, low), canvas, el("span", {}, high), el("span", {}, label));
}

/** A canvas enlarged as it is shown, for a picture file. */
export function enlarged(canvas) {
  const scale = devicePixelRatio || 1;
  const large = document.createElement("canvas");
  large.width = Math.max(1, Math.round(canvas.clientWidth * scale));
  large.height = Math.max(1, Math.round(canvas.clientHeight * scale));
  const pen = large.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(canvas, 0, 0, large.width, large.height);
  return large;
}
