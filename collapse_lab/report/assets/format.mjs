// Numbers as a reader takes them in.

/** Three digits that count; a dash for no number. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
  return value.toFixed(digits);
}

/** A value with its interval, where it has one. */
export function withInterval(value, low, high) {
  return Number.isNaN(low) || Number.isNaN(high) ? number(value) : `${number(value)} [${number(low)}, ${number(high)}]`;
}

/** A number on an axis: as short as it can be said without changing it. */
export function tick(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const exact = Number(value.toPrecision(6));
  if (size >= 1e5 || size < 1e-3) {
    const [digits, power] = exact.toExponential().split("e");
    return `${digits}e${Number(power)}`;
  }
  return String(exact);
}

/** Labels of the ticks of a logarithmic axis: powers of ten, and 2 and 5 where there are few of these. */
export function logTicks(splits) {
  const lead = splits.map((value) => (value > 0 ? Number(Number(value.toPrecision(6)).toExponential().split("e")[0]) : NaN)); // uPlot leaves some out
  const powers = lead.filter((digit) => Math.round(digit * 1e6) === 1e6).length;
  const wanted = powers > 2 ? [1] : powers > 1 ? [1, 3] : [1, 2, 3, 5, 7];
  return splits.map((value, place) => (wanted.some((digit) => Math.abs(lead[place] - digit) < 1e-6) ? tick(value) : ""));
}

/** A site without the words that all share: stages.2.blocks.1.act -> 2.1. */
export function short(site) {
  const digits = site.split(".").filter((part) => /^\d+$/.test(part)).join(".");
  if (digits) return digits;
  return site.length > 14 ? `${site.slice(0, 13)}…` : site;
}

/** effective_rank -> effective rank */
export function spoken(name) {
  return name.replaceAll("_", " ");
}
