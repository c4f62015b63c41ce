// A chart with what belongs to it: title, unit, tooltip, keys, picture, what is missing and why, the table behind it.
import { lineChart, showArms } from "./charts.mjs";
import { el, name, say, swatch } from "./dom.mjs";
import { number, withInterval } from "./format.mjs";
import { whenSeen } from "./lazy.mjs";
import { equals } from "./overlap.mjs";
import { composed, save } from "./picture.mjs";
import { between, nearest } from "./scales.mjs";
import { pagedTable } from "./tables.mjs";
import { inks } from "./theme.mjs";

/** The frame: {root, plot, note, title(text, unit)}; `canvases()` are those of the picture, `table()` what lies behind. */
export function frame({ title, unit = "", canvases, arms = () => [], table, large = false }) {
  const heading = el("span", { class: "title" }, name(title));
  const measure = el("span", { class: "unit" }, unit);
  const current = () => heading.textContent;
  const png = el("button", { type: "button", class: "small", "aria-label": `PNG of ${title.slice(0, 80)}`, onclick: () => save(composed(canvases(), current(), arms()), current()) }, "PNG");
  const plot = el("div", { class: large ? "plot large" : "plot" });
  const note = el("p", { class: "note" });
  const behind = el("details", {}, el("summary", {}, "Table"));
  const fill = () => {
    if (behind.open) behind.replaceChildren(behind.firstElementChild, table());
  };
  behind.addEventListener("toggle", fill);
  const root = el("figure", { class: "chart" }, el("figcaption", {}, heading, el("span", { class: "tools" }, png), measure), plot, note, behind);
  const rename = (text, measured) => {
    heading.replaceChildren(name(text));
    measure.textContent = measured;
  };
  return { root, plot, note, rename, refill: fill };
}

/** A line chart in a frame, drawn when seen. `read()` gives {title, unit, data, logX, logY, names, xName, gaps, at};
 * `lines` are those that `data.arms` are of, shown as the state's list `key` says. */
export function lineFigure(store, state, { read, height = 210, large = false, link = null, pick = null, lines = store.data.arms, key = "shown" }) {
  let spec = read();
  let chart = null;
  let drawn = "";
  const visible = () => lines.flatMap((line, place) => (state.get(key)[place] ? [{ line, own: spec.data.arms[place] }] : []));
  const parts = frame({ title: spec.title, unit: spec.unit, large, canvases: () => [chart.ctx.canvas], arms: () => visible().map(({ line }) => line), table: () => tableBehind(visible(), spec) });
  const tip = el("div", { class: "tip", hidden: true });
  const shared = () => spec.shared ?? spec.data.x;
  const member = {
    cursor: (at) => point(at === null ? null : nearest(shared(), at), true),
    // In a batch uPlot tells of the new scale at once, while the link still knows that this chart was told.
    zoom: (low, high) => chart?.batch(() => chart.setScale("x", low === null ? whole() : { min: between(shared(), spec.data.x, low), max: between(shared(), spec.data.x, high) })),
  };
  const whole = () => ({ min: spec.data.x[0], max: spec.data.x[spec.data.x.length - 1] });

  function point(place, quiet = false) {
    if (!chart) return;
    if (place === null) {
      chart.setCursor({ left: -10, top: -10 }, false);
      tip.hidden = true;
    } else {
      const left = chart.valToPos(spec.data.x[place], "x");
      chart.setCursor({ left, top: 0 }, false);
      if (!quiet) describe(place);
    }
    if (!quiet) link?.cursor(member, place === null ? null : shared()[place]);
  }

  function describe(place) {
    tip.replaceChildren(...tooltip(visible(), spec, place));
    tip.hidden = false;
    const box = chart.over;
    const left = box.offsetLeft + chart.valToPos(spec.data.x[place], "x");
    const right = left > parts.plot.clientWidth / 2;
    tip.style.transform = `translate(${right ? Math.max(0, left - tip.offsetWidth - 10) : Math.min(left + 10, parts.plot.clientWidth - tip.offsetWidth)}px, ${box.offsetTop + 6}px)`;
  }

  function moved(self) {
    if (!self.cursor.event) return;
    if (self.cursor.left < 0 || self.cursor.idx === null) {
      tip.hidden = true;
      link?.cursor(member, null);
    } else {
      describe(self.cursor.idx);
      link?.cursor(member, shared()[self.cursor.idx]);
    }
  }

  function zoomed(self, key) {
    if (key !== "x" || !link || !chart) return;
    const { min, max } = self.scales.x;
    const all = whole();
    const narrow = min > all.min || max < all.max;
    link.zoom(member, narrow ? between(spec.data.x, shared(), min) : null, between(spec.data.x, shared(), max));
  }

  function draw() {
    const ink = inks();
    const now = JSON.stringify([state.get("theme"), parts.plot.clientWidth]);
    if (chart && drawn === now && spec.same) {
      showArms(chart, state.get(key));
      return;
    }
    drawn = now;
    spec.same = true;
    chart?.destroy();
    chart = null;
    const hooks = { setCursor: [moved], setScale: [zoomed] };
    chart = lineChart(parts.plot, { ...spec, arms: lines, shown: state.get(key), height, hooks }, ink);
    parts.plot.append(tip);
    if (link?.range) link.quietly(() => member.zoom(...link.range));
  }

  const stale = whenSeen(parts.plot, draw);
  parts.plot.classList.add("lines");
  parts.plot.setAttribute("tabindex", "0");
  parts.plot.setAttribute("role", "group");
  const label = () => parts.plot.setAttribute("aria-label", `${spec.title.slice(0, 120)}: arrow keys move the cursor, plus and minus zoom, 0 shows all${pick ? ", Enter opens the layer" : ""}`);
  parts.plot.addEventListener("keydown", (event) => keyed(event));
  parts.plot.addEventListener("blur", () => point(null));
  if (pick) pickByPointer(parts.plot, () => chart && !tip.hidden && chart.cursor.idx !== null && pick(spec, chart.cursor.idx));
  link?.join(member);

  function keyed(event) {
    if (!chart) return;
    const last = spec.data.x.length - 1;
    const at = tip.hidden ? null : (chart.cursor.idx ?? null);
    const { min, max } = chart.scales.x;
    if (event.key === "ArrowRight") point(at === null ? 0 : Math.min(last, at + 1));
    else if (event.key === "ArrowLeft") point(at === null ? last : Math.max(0, at - 1));
    else if (event.key === "Enter" && pick && at !== null) pick(spec, at);
    else if (event.key === "+" || event.key === "=") zoomBy((max - min) / 4);
    else if (event.key === "-") zoomBy(-(max - min) / 2);
    else if (event.key === "0" || event.key === "Escape") chart.setScale("x", whole());
    else return;
    event.preventDefault();
    if (!tip.hidden) say(tip.textContent.slice(0, 300));
  }

  function zoomBy(inwards) {
    const all = whole();
    const { min, max } = chart.scales.x;
    chart.setScale("x", { min: Math.max(all.min, min + inwards), max: Math.min(all.max, max - inwards) });
  }

  function update() {
    spec = read();
    parts.rename(spec.title, spec.unit);
    annotate();
    label();
    parts.refill();
    stale();
  }
  const annotate = () => parts.note.replaceChildren(...gapWords(store, spec), ...equalWords(visible(), spec));
  label();
  annotate();
  state.on([key, "theme", "width"], () => {
    annotate();
    parts.refill();
    stale();
  });
  return { root: parts.root, update };
}

/** A click that is no drag: dragging zooms. */
function pickByPointer(plot, choose) {
  let from = 0;
  plot.addEventListener("pointerdown", (event) => (from = event.clientX));
  plot.addEventListener("click", (event) => Math.abs(event.clientX - from) < 4 && choose());
}

function gapWords(store, spec) {
  return (spec.gaps ?? []).slice(0, 3).map(({ reason, places }) => {
    const where = places.length === 1 ? name((spec.placeNames ?? store.data.sites)[places[0]]) : `${places.length} sites`;
    return el("span", {}, "No value at ", where, ` (${reason}). `);
  });
}

function equalWords(visible, spec) {
  return equals(visible.map(({ own }) => own.mean)).map((group) => {
    const [first, ...others] = group.map((place) => name(visible[place].line.name.slice(0, 80)));
    const list = others.flatMap((each, place) => [place ? ", " : "", each]);
    return el("span", {}, ...list, others.length > 1 ? " equal " : " equals ", first, ` at every ${spec.xName}. `);
  });
}

function tooltip(visible, spec, place) {
  const rows = visible.map(({ line, own }) => el("div", { class: "row" }, swatch(line), name(line.name.slice(0, 80)), el("span", {}, text(own, place))));
  const held = (spec.data.lines ?? []).map((line) => el("div", { class: "row" }, el("span", {}), el("span", {}, line.label), el("span", {}, number(line.values[place]))));
  return [el("div", { class: "head" }, name(spec.at(place).slice(0, 300))), ...rows, ...held];
}

function text({ mean, low, high }, place) {
  return low[place] === high[place] ? number(mean[place]) : withInterval(mean[place], low[place], high[place]);
}

function tableBehind(visible, spec) {
  const held = spec.data.lines ?? [];
  const columns = [spec.xName, ...visible.map(({ line }) => line.name), ...held.map((line) => line.label)];
  const rows = spec.data.x.map((_, place) => [
    spec.at(place),
    ...visible.map(({ own }) => text(own, place)),
    ...held.map((line) => number(line.values[place])),
  ]);
  return pagedTable(`Table behind ${spec.title.slice(0, 80)}`, columns, rows);
}
