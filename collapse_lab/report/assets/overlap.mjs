// Lines that lie on each other: how they stay visible, and which are equal.

const NEAR = 0.01; // of the height of what is drawn: less than the width of a line

function height(rows, scale) {
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) {
    for (const value of row) {
      if (value === null || value === undefined) continue;
      low = Math.min(low, scale(value));
      high = Math.max(high, scale(value));
    }
  }
  return high > low ? high - low : 0;
}

/** How many of the lines that are drawn after it lie on each line at more than half of the places where both have a
 * value; `others` are drawn beside them. No value is null. */
export function covered(lines, log = false, others = []) {
  const scale = log ? Math.log : (value) => value;
  const near = NEAR * height([...lines, ...others], scale);
  const lies = (one, two) => {
    const both = one.flatMap((value, place) => ((value ?? null) === null || (two[place] ?? null) === null ? [] : [Math.abs(scale(value) - scale(two[place])) <= near]));
    return both.filter(Boolean).length > both.length / 2;
  };
  return lines.map((one, place) => lines.slice(place + 1).filter((two) => lies(one, two)).length);
}

/** Groups of places of lines that have the same values everywhere, and some. */
export function equals(lines) {
  const groups = new Map();
  lines.forEach((values, place) => {
    if (!values.some(Number.isFinite)) return;
    const key = values.join();
    groups.set(key, [...(groups.get(key) ?? []), place]);
  });
  return [...groups.values()].filter((group) => group.length > 1);
}
