// Find a metric or a site by any part of its name.
import { el, name } from "./dom.mjs";

const MOST = 12;

/** Entries whose text holds every word, those that begin with the first one before the others. */
export function matches(entries, query, most = MOST) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const found = entries.filter((entry) => words.every((word) => entry.text.toLowerCase().includes(word)));
  const first = (entry) => (entry.text.toLowerCase().startsWith(words[0]) ? 0 : 1);
  return found.sort((a, b) => first(a) - first(b)).slice(0, most);
}

/** A combobox over entries {kind, text, go}. */
export function searchBox(entries) {
  const list = el("ul", { class: "options", role: "listbox", id: "found", "aria-label": "Metrics and sites", hidden: true });
  const input = el("input", { type: "search", placeholder: "Find a metric or a site", role: "combobox", "aria-label": "Find a metric or a site", "aria-expanded": "false", "aria-controls": "found", "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false" });
  let found = [];
  let chosen = -1;
  const mark = (place) => {
    chosen = place;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === place)));
    const item = list.children[place];
    if (item) item.scrollIntoView({ block: "nearest" });
    if (item) input.setAttribute("aria-activedescendant", item.id);
    else input.removeAttribute("aria-activedescendant");
  };
  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  };
  const take = (place) => {
    const entry = found[place];
    if (!entry) return;
    input.value = "";
    close();
    entry.go();
  };
  const open = () => {
    found = matches(entries, input.value);
    const items = found.map((entry, place) =>
      el("li", { role: "option", id: `found-option-${place}`, "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => take(place) }, el("span", { class: "kind" }, entry.kind), name(entry.text)),
    );
    const none = input.value.trim() && !items.length ? [el("li", { role: "option", "aria-selected": "false", "aria-disabled": "true" }, "Nothing is called so")] : [];
    list.replaceChildren(...items, ...none);
    list.hidden = !items.length && !none.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    mark(items.length ? 0 : -1);
  };
  input.addEventListener("input", open);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (found.length) mark((chosen + (event.key === "ArrowDown" ? 1 : found.length - 1)) % found.length);
    } else if (event.key === "Enter") take(chosen);
    else if (event.key === "Escape") close();
  });
  return el("div", { class: "search" }, input, list);
}
