// A chart with what belongs to it: title, unit, key, tooltip, keys, picture, what is missing and why, the table behind it.
import { lineChart, showArms } from "./charts.mjs";
import { el, name, onClick, say } from "./dom.mjs";
import { whenSeen } from "./lazy.mjs";
import { composed, save } from "./picture.mjs";
import { between, inside, nearest } from "./scales.mjs";
import { emptiness, keyWords, kindsOf, notes, tableBehind, tooltip } from "./tell.mjs";
import { inks } from "./theme.mjs";

/** The frame: {root, plot, note, key, png, rename(text, unit), refill}; `canvases()` are those of the picture, `table()`
 * what lies behind, `beside()` what the picture says besides: {context, xTitle, arms, lines, scale}. */
export function frame({ title, unit = "", canvases, beside = () => ({}), table, large = false }) {
  const heading = el("span", { class: "title" }, name(title));
  const measure = el("span", { class: "unit" }, unit);
  const current = () => heading.textContent;
  const picture = () => composed(canvases(), { title: current(), unit: measure.textContent, ...beside() });
  const png = el("button", { type: "button", class: "small", "aria-label": `PNG of ${title.slice(0, 80)}`, onclick: () => save(picture(), current()) }, "PNG");
  const plot = el("div", { class: large ? "plot large" : "plot" });
  const key = el("div", { class: "keys" });
  const note = el("p", { class: "note" });
  const behind = el("details", {}, el("summary", {}, "Table"));
  const fill = () => {
    if (behind.open) behind.replaceChildren(behind.firstElementChild, table());
  };
  behind.addEventListener("toggle", fill);
  const root = el("figure", { class: "chart" }, el("figcaption", {}, heading, el("span", { class: "tools" }, png), measure, key), plot, note, behind);
  const rename = (text, measured) => {
    heading.replaceChildren(name(text));
    measure.textContent = measured;
  };
  return { root, plot, key, note, png, rename, refill: fill };
}

/** A line chart in a frame, drawn when seen. `read()` gives {title, unit, context, data, logX, logY, names, xName, xTitle,
 * gaps, without, at}; `lines` are those that `data.arms` are of, shown as the state's list `key` says. */
export function lineFigure(store, state, { read, height = 210, large = false, link = null, pick = null, lines = store.data.arms, key = "shown" }) {
  let spec = read();
  let chart = null;
  let drawn = "";
  let told = null; // the place that the tooltip tells of
  const visible = () => lines.flatMap((line, place) => (state.get(key)[place] ? [{ line, place, own: spec.data.arms[place] }] : []));
  const beside = () => ({ context: spec.context, xTitle: spec.xTitle ?? spec.xName, arms: visible().filter(({ own }) => own.mean.some(Number.isFinite)).map(({ line }) => line), lines: kindsOf(spec.data.lines) });
  const parts = frame({ title: spec.title, unit: spec.unit, large, canvases: () => [chart.ctx.canvas], beside, table: () => tableBehind(visible(), spec) });
  const tip = el("div", { class: "tip", hidden: true });
  const empty = el("p", { class: "empty", hidden: true });
  const shared = () => spec.shared ?? spec.data.x;
  const whole = () => ({ min: spec.data.x[0], max: spec.data.x[spec.data.x.length - 1] });
  const leftOf = (place) => chart.valToPos(spec.data.x[place], "x");
  // In a batch uPlot tells of the new scale at once, while the link still knows that this chart was told.
  const show = (range) => chart?.batch(() => chart.setScale("x", range));
  const member = {
    cursor: (at) => point(at === null ? null : nearest(shared(), at), true),
    zoom: (low, high) => show(low === null ? whole() : { min: between(shared(), spec.data.x, low), max: between(shared(), spec.data.x, high) }),
  };

  function silence() {
    told = null;
    tip.hidden = true;
  }

  // The line stands at the place that is told, which is the one nearest to the pointer.
  function snap(place) {
    chart.over.querySelector(".u-cursor-x").style.transform = `translate(${Math.round(leftOf(place))}px, 0px)`;
  }

  function point(place, quiet = false) {
    if (!chart) return;
    const [first, last] = inside(spec.data.x, chart.scales.x.min, chart.scales.x.max);
    if (place === null || place < first || place > last) {
      chart.setCursor({ left: -10, top: -10 }, false);
      silence();
    } else {
      chart.setCursor({ left: leftOf(place), top: 0 }, false);
      snap(place);
      if (!quiet) describe(place);
    }
    if (!quiet) link?.cursor(member, place === null ? null : shared()[place]);
  }

  function describe(place) {
    told = place;
    tip.replaceChildren(...tooltip(visible(), spec, place));
    tip.hidden = false;
    const box = chart.over;
    const left = box.offsetLeft + leftOf(place);
    const right = left > parts.plot.clientWidth / 2;
    tip.style.transform = `translate(${right ? Math.max(0, left - tip.offsetWidth - 10) : Math.min(left + 10, parts.plot.clientWidth - tip.offsetWidth)}px, ${box.offsetTop + 6}px)`;
  }

  function moved(self) {
    if (!self.cursor.event || !chart) return;
    if (self.cursor.left < 0 || self.cursor.idx === null) {
      silence();
      link?.cursor(member, null);
    } else {
      snap(self.cursor.idx);
      describe(self.cursor.idx);
      link?.cursor(member, shared()[self.cursor.idx]);
    }
  }

  function zoomed(self, scale) {
    if (scale !== "x" || !chart) return;
    silence(); // it stood where its site no longer is
    if (!link) return;
    const { min, max } = self.scales.x;
    const all = whole();
    const narrow = min > all.min || max < all.max;
    link.zoom(member, narrow ? between(spec.data.x, shared(), min) : null, between(spec.data.x, shared(), max));
  }

  function draw() {
    const why = emptiness(spec, visible());
    empty.textContent = why;
    empty.hidden = !why;
    parts.png.disabled = Boolean(why);
    if (why) {
      chart?.destroy();
      chart = null;
      parts.plot.append(empty);
      return;
    }
    const now = JSON.stringify([state.get("theme"), parts.plot.clientWidth]);
    if (chart && drawn === now && spec.same) {
      showArms(chart, state.get(key), spec.data.lines);
      return;
    }
    drawn = now;
    spec.same = true;
    chart?.destroy();
    chart = null;
    silence();
    const hooks = { setCursor: [moved], setScale: [zoomed] };
    chart = lineChart(parts.plot, { ...spec, arms: lines, shown: state.get(key), height, hooks }, inks());
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
  if (pick) {
    onClick(parts.plot, () => {
      const place = chart ? told : null;
      return place !== null && (() => pick(spec, place));
    });
  }
  link?.join(member);

  function keyed(event) {
    if (!chart) return;
    const { min, max } = chart.scales.x;
    const [first, last] = inside(spec.data.x, min, max);
    if (event.key === "ArrowRight") point(told === null ? first : Math.min(last, told + 1));
    else if (event.key === "ArrowLeft") point(told === null ? last : Math.max(first, told - 1));
    else if (event.key === "Enter" && pick && told !== null) pick(spec, told);
    else if (event.key === "+" || event.key === "=") zoomBy(0.5);
    else if (event.key === "-") zoomBy(2);
    else if (event.key === "0" || event.key === "Escape") zoomTo(whole());
    else return;
    event.preventDefault();
    if (!tip.hidden) say(tip.textContent.slice(0, 300));
  }

  /** So many times as wide, around the cursor, or the middle where there is none. */
  function zoomBy(factor) {
    const all = whole();
    const { min, max } = chart.scales.x;
    const centre = told === null ? (min + max) / 2 : spec.data.x[told];
    zoomTo({ min: Math.max(all.min, centre - (centre - min) * factor), max: Math.min(all.max, centre + (max - centre) * factor) });
  }

  function zoomTo(range) {
    const place = told;
    show(range);
    if (place !== null) point(place);
  }

  function update() {
    spec = read();
    parts.rename(spec.title, spec.unit);
    annotate();
    label();
    parts.refill();
    stale();
  }
  const annotate = () => {
    parts.note.replaceChildren(...notes(store, spec, visible()));
    parts.key.replaceChildren(...keyWords(spec));
  };
  label();
  annotate();
  state.on([key, "theme", "width"], () => {
    annotate();
    parts.refill();
    stale();
  });
  return { root: parts.root, update };
}
