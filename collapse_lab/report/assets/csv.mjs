// Tables as text that a spreadsheet reads.
import { number, withInterval } from "./format.mjs";

/** A cell that holds a number, and the ends of its interval where it has one: told in short, copied whole. */
export function measured(value, low, high, suffix = "") {
  return low === undefined || low === high || Number.isNaN(low) ? { value, suffix } : { value, low, high, suffix };
}

/** What a reader sees of a cell. */
export function shown(cell) {
  if (typeof cell !== "object") return String(cell);
  const { value, low, high, suffix } = cell;
  const text = low === undefined ? number(value) : withInterval(value, low, high);
  return Number.isFinite(value) ? `${text}${suffix}` : text;
}

/** Nine digits tell every number of 32 bits from every other. */
const whole = (value) => (value === undefined || value === null || Number.isNaN(value) ? "" : String(Number(value.toPrecision(9))));

/** Rows of a copy, the columns' names first: a column in which an interval stands is three. */
export function copied(columns, rows) {
  const wide = columns.map((_, place) => rows.some((row) => row[place]?.low !== undefined));
  const head = columns.flatMap((column, place) => (wide[place] ? [column, `${column}, low`, `${column}, high`] : [column]));
  const body = rows.map((row) =>
    row.flatMap((cell, place) => {
      const value = typeof cell === "object" ? whole(cell.value) : cell;
      return wide[place] ? [value, whole(cell?.low), whole(cell?.high)] : [value];
    }),
  );
  return [head, ...body];
}

const NUMBER = "-?\\d[\\d.]*(?:e[+-]?\\d+)?";
const INTERVAL = new RegExp(`^(${NUMBER})( %)? \\[(${NUMBER}), (${NUMBER})\\](.*)$`);
const PLAIN = new RegExp(`^(${NUMBER})( %)?$`);

/** Rows of text, the first of them names: a column in which intervals "a [b, c]" stand is value, low and high, and a
 * remark where more is said. */
export function split([head, ...rows]) {
  const parts = rows.map((row) => row.map((text) => INTERVAL.exec(text)));
  const wide = head.map((_, place) => parts.some((row) => row[place]));
  const cells = (text, found) => {
    const plain = found ?? PLAIN.exec(text);
    if (!plain) return [text, "", "", ""];
    return [plain[1], found?.[3] ?? "", found?.[4] ?? "", `${plain[2] ?? ""}${found?.[5] ?? ""}`.trim()];
  };
  const four = rows.map((row, at) => row.map((text, place) => (wide[place] ? cells(text, parts[at][place]) : [text])));
  const remarked = head.map((_, place) => wide[place] && four.some((row) => row[place][3]));
  const kept = (place, all) => (wide[place] ? all.slice(0, remarked[place] ? 4 : 3) : all.slice(0, 1));
  return [head.flatMap((name, place) => kept(place, [name, `${name}, low`, `${name}, high`, `${name}, remark`])), ...four.map((row) => row.flatMap((all, place) => kept(place, all)))];
}

/** One cell: quoted where it must be; what a spreadsheet would take for a formula is kept as text. */
export function cell(value) {
  const text = String(value);
  const safe = /^[=+@\t\r]/.test(text) || (/^-/.test(text) && Number.isNaN(Number(text))) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Rows of cells as lines. */
export function csv(rows) {
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

/** The text of every cell of a table element, hidden rows too. */
export function rowsOf(table) {
  return [...table.rows].map((row) => [...row.cells].map((each) => each.textContent.trim()));
}
