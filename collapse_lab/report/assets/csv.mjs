// Tables as text that a spreadsheet reads.

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
