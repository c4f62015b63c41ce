// Tables: made from rows, paged where they are long, copied as CSV.
import { copied, csv, rowsOf, shown, split } from "./csv.mjs";
import { el, name, say } from "./dom.mjs";

/** Put a text where a paste finds it; true when that went well. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "quiet", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy"); // where a page from a mail may not use the clipboard
    area.remove();
    return done;
  }
}

/** A button that copies what `rows()` gives. */
export function copyButton(rows) {
  const button = el("button", { type: "button", class: "small copy", onclick: copy }, "Copy as CSV");
  async function copy() {
    const done = await copyText(csv(rows()));
    button.textContent = done ? "Copied" : "Could not copy";
    say(button.textContent);
    setTimeout(() => (button.textContent = "Copy as CSV"), 1600);
  }
  return button;
}

/** A table element of columns and rows of plain values or of `measured` ones; the first cell of a row names it. */
export function tableOf(columns, rows, numeric = () => true) {
  const head = el("thead", {}, el("tr", {}, ...columns.map((column, place) => el("th", { scope: "col", class: place && numeric(place) ? "number" : null }, name(column)))));
  const body = el("tbody", {}, ...rows.map((row) => rowOf(row, numeric)));
  return el("table", {}, head, body);
}

function rowOf(row, numeric) {
  const [first, ...others] = row;
  return el("tr", {}, el("th", { scope: "row" }, name(first)), ...others.map((cell, place) => el("td", { class: numeric(place + 1) ? "number" : null }, name(shown(cell)))));
}

/** A table with its buttons, `size` rows a page. `rows` are all of them, whatever page is shown. */
export function pagedTable(label, columns, rows, { size = 25, numeric } = {}) {
  const scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label });
  const pages = Math.max(1, Math.ceil(rows.length / size));
  let page = 0;
  const place = el("span", {});
  const show = (wanted) => {
    page = Math.min(pages - 1, Math.max(0, wanted));
    scroll.replaceChildren(tableOf(columns, rows.slice(page * size, (page + 1) * size), numeric));
    place.textContent = `${page * size + 1}–${Math.min(rows.length, (page + 1) * size)} of ${rows.length}`;
    back.disabled = page === 0;
    on.disabled = page === pages - 1;
  };
  const back = el("button", { type: "button", class: "small", onclick: () => show(page - 1) }, "Previous");
  const on = el("button", { type: "button", class: "small", onclick: () => show(page + 1) }, "Next");
  const buttons = el("div", { class: "pager" }, ...(pages > 1 ? [back, place, on] : []), copyButton(() => copied(columns, rows)));
  show(0);
  return el("div", { class: "table" }, scroll, buttons);
}

/** Give every table that was written into the page its button. */
export function makeCopyable(root) {
  for (const block of root.querySelectorAll("div.table")) {
    const table = block.querySelector("table");
    block.append(el("div", { class: "pager" }, copyButton(() => split(rowsOf(table)))));
  }
}
