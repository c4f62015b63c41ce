// Colours of values and of arms, safe for every kind of colour blindness.

// Cividis-like: dark blue over grey to yellow, lightness rising evenly.
const SEQUENTIAL = [[0, 32, 77], [0, 50, 110], [46, 71, 107], [76, 91, 108], [102, 112, 114], [127, 133, 117], [156, 156, 113], [188, 181, 101], [222, 208, 80], [253, 231, 60]];
// Blue over white to red-brown.
const DIVERGING = [[5, 72, 140], [60, 128, 190], [146, 190, 222], [214, 229, 240], [246, 246, 246], [250, 224, 205], [240, 172, 128], [208, 98, 58], [140, 40, 20]];
export const DASHES = [[], [8, 4], [2, 3], [8, 3, 2, 3]];

function along(anchors, share) {
  const place = Math.min(1, Math.max(0, share)) * (anchors.length - 1);
  const left = Math.min(anchors.length - 2, Math.floor(place));
  return anchors[left].map((value, channel) => Math.round(value + (place - left) * (anchors[left + 1][channel] - value)));
}

function table(anchors) {
  return Array.from({ length: 256 }, (_, code) => along(anchors, code / 255));
}

export const SEQUENCE = table(SEQUENTIAL);
export const BOTH_WAYS = table(DIVERGING);

/** 0 ... 255 of a value between two ends; -1 for no value. */
export function codeOf(value, ends) {
  if (Number.isNaN(value)) return -1;
  return ends[1] > ends[0] ? Math.round(255 * Math.min(1, Math.max(0, (value - ends[0]) / (ends[1] - ends[0])))) : 128;
}

/** The least and the most of rows of numbers. */
export function ends(rows) {
  let low = Infinity;
  let high = -Infinity;
  for (const row of rows) {
    for (const value of row) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : [0, 1];
}
