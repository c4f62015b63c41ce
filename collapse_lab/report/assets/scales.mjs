// Axes and scales of line charts.
import { logTicks, tick } from "./format.mjs";

/** The range of a linear or logarithmic axis around what is drawn; a little air, and never no height. */
export function rangeOf(low, high, log) {
  if (low === null || high === null || !(low <= high)) return log ? [0.1, 1] : [0, 1];
  if (log) return low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
  const air = (high - low) * 0.06 || Math.abs(high) * 0.1 || 0.5;
  return [low >= 0 && low - air < 0 ? 0 : low - air, high + air];
}

/** Numbers as uPlot takes them: null where there is none, or none that a logarithm has; undefined stays what it is. */
export function drawable(values, log) {
  return values.map((value) => (value === undefined || (Number.isFinite(value) && (!log || value > 0)) ? value : null));
}

/** Steps between the ticks of an axis of whole numbers. */
export const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** Whether there are numbers and all are whole, as counts are. */
export function allWhole(rows) {
  const known = rows.flat().filter((value) => Number.isFinite(value));
  return known.length > 0 && known.every(Number.isInteger);
}

/** Places along an axis of names that leave each name `room` of the `width`. */
export function places(count, width, room) {
  const step = Math.max(1, Math.ceil((count * room) / Math.max(1, width)));
  return Array.from({ length: Math.ceil(count / step) }, (_, place) => place * step);
}

/** Labels of ticks. */
export function labels(splits, log) {
  return log ? logTicks(splits) : splits.map(tick);
}

/** The place of the number nearest to x in ascending numbers. */
export function nearest(numbers, x) {
  let best = 0;
  for (let place = 1; place < numbers.length; place++) {
    if (Math.abs(numbers[place] - x) < Math.abs(numbers[best] - x)) best = place;
  }
  return best;
}

/** The first and the last place of the ascending numbers from low to high; where none is, twice the one nearest to these. */
export function inside(numbers, low, high) {
  const air = 1e-6 * (numbers[numbers.length - 1] - numbers[0]); // ends that were carried from one axis to another are rounded
  const first = numbers.findIndex((each) => each >= low - air);
  const last = numbers.findLastIndex((each) => each <= high + air);
  return first >= 0 && last >= first ? [first, last] : Array(2).fill(nearest(numbers, (low + high) / 2));
}

/** Where x lies among ascending `from`, in the numbers `to` that belong to these; beyond the ends, the ends. */
export function between(from, to, x) {
  if (x <= from[0]) return to[0];
  const right = from.findIndex((each) => each >= x);
  if (right < 0) return to[to.length - 1];
  const span = from[right] - from[right - 1];
  return to[right - 1] + (span > 0 ? (x - from[right - 1]) / span : 0) * (to[right] - to[right - 1]);
}

/** Ticks of a logarithmic axis: 1 ... 9 times every power of ten between two positive ends; powers alone over many.
 * uPlot's own never end where the axis does not begin at a power of ten. */
export function logSplits(low, high) {
  const first = Math.floor(Math.log10(low));
  const last = Math.ceil(Math.log10(high));
  const stride = Math.max(1, Math.ceil((last - first) / 12));
  const digits = last - first > 6 ? [1] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
  const found = [];
  for (let power = first; power <= last; power += stride) {
    for (const digit of digits) {
      const value = Number(`${digit}e${power}`);
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found;
}
