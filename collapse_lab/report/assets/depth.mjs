// Metrics through depth: one large chart of any metric, and small ones of all headline metrics.
import { choice, el, openLayer, tickBox } from "./dom.mjs";
import { lineFigure } from "./figure.mjs";
import { number, short, spoken, tick } from "./format.mjs";
import { depthColumns, lastPoint, ofKind, spread, throughDepth, worstFirst } from "./shape.mjs";
import { measured } from "./csv.mjs";
import { pagedTable } from "./tables.mjs";

/** Lines that a metric is held against, one of each kind an arm: what its channels would show if they were unrelated, and
 * what it showed before training. `at(arm, column)` is the site; undefined where the arm has none there. */
export function nullLines(store, name, columns) {
  const kinds = [];
  const metric = store.metric(name);
  const nullOf = store.metric("effective_rank_null_share");
  if (name === "effective_rank" && nullOf) {
    const value = (run, site) => lastPoint(store, metric, run, site).value / store.last(nullOf.name, metric.policy, run, site).value;
    kinds.push({ label: "if channels were unrelated", dash: [6, 3], value });
  }
  const first = store.data.steps.indexOf(0);
  if (first >= 0 && store.data.steps.length > 1 && metric.headline) kinds.push({ label: "before training", dash: [1, 3], value: (run, site) => store.point(name, run, first, site).value });
  const lines = kinds.flatMap(({ label, dash, value }) =>
    store.data.arms.map((_, arm) => {
      const at = ({ of }) => (of[arm] === null ? undefined : spread(store.runsOf(arm).map((run) => value(run, of[arm]))).mean);
      return { label, dash, arm, values: columns.map(at) };
    }),
  );
  return lines.filter((line) => line.values.some(Number.isFinite));
}

/** The sites of a column, each once, as a reader is told of them. */
function siteNames(store, { of }) {
  return [...new Set(of.filter((site) => site !== null))].map((site) => store.data.sites[site]).join(" / ");
}

/** How the x axis is told and labelled: the sites by name, or relative depth where networks have each their own. */
function axisOf(store, { relative, columns }) {
  if (relative) return { x: columns.map((each) => each.depth), xTitle: "relative depth, from the first site of a network to its last", at: (place) => `depth ${tick(Number(columns[place].depth.toFixed(3)))}: ${siteNames(store, columns[place])}` };
  const names = columns.map((each) => short(siteNames(store, each)));
  return { x: columns.map((_, place) => place), names, room: 9 + 6.5 * Math.max(...names.map((text) => text.length)), xTitle: "site, from the first to the last", at: (place) => siteNames(store, columns[place]) };
}

function specOf(store, state, name, kind) {
  const metric = store.metric(name);
  const sites = ofKind(store, kind || metric.kind);
  const laid = depthColumns(store, sites);
  const { columns } = laid;
  const found = throughDepth(store, name, columns);
  const { x, ...axis } = axisOf(store, laid);
  const without = store.data.arms.map((_, arm) => arm).filter((arm) => store.captured(arm) && columns.every(({ of }) => of[arm] === null));
  return {
    ...axis,
    title: spoken(name),
    unit: `${metric.unit}${metric.collapse ? `, collapse is ${metric.collapse}` : ""}${laid.relative ? "; x is relative depth" : ""}`,
    context: `at the last step${store.data.steps.length ? ` (${store.data.steps[store.data.steps.length - 1]})` : ""}`,
    data: { x, arms: found.arms, lines: state.get("nulls") ? nullLines(store, name, columns) : [] },
    logY: state.get("log"),
    shared: columns.map((each) => each.depth),
    xName: "site",
    gaps: found.gaps,
    without: without.map((arm) => [store.data.arms[arm].name, `no ${kind || metric.kind} site`]),
    columns,
  };
}

/** The section. */
export function depthSection(host, store, state, link) {
  const kinds = [...new Set(store.data.detailed.map((site) => store.data.kinds[site]))];
  const names = store.data.metrics.map((metric) => [metric.name, spoken(metric.name)]);
  const pick = (spec, place) => {
    const { of } = spec.columns[place];
    const own = of.filter((site, arm) => site !== null && state.get("shown")[arm]);
    openLayer(state, own[0] ?? of.find((site) => site !== null));
  };
  const metric = choice("Metric", names, state.get("metric"), (value) => state.set({ metric: value }));
  metric.select.id = "metric";
  const kind = choice("Sites", [["", "where the metric is judged"], ...kinds.map((each) => [each, `every ${each.slice(0, 40)}`])], "", (value) => state.set({ kind: value }));
  const log = tickBox("log axis", false, (ticked) => state.set({ log: ticked }));
  const nulls = tickBox("null lines", true, (ticked) => state.set({ nulls: ticked }));
  const large = lineFigure(store, state, { read: () => specOf(store, state, state.get("metric"), state.get("kind")), height: 340, large: true, link, pick });
  const small = store.headline.map((name) => lineFigure(store, state, { read: () => specOf(store, state, name, ""), link, pick }));
  const all = el("details", { id: "all-sites" }, el("summary", {}, `Every site, the worst first (${store.data.sites.length})`));
  const fill = () => all.open && all.replaceChildren(all.firstElementChild, everySite(store, state));
  all.addEventListener("toggle", fill);
  host.append(el("div", { class: "controls" }, metric.label, kind.label, log, nulls), large.root, all, el("div", { class: "grid" }, ...small.map((each) => each.root)));
  state.on(["metric", "kind"], () => {
    metric.select.value = state.get("metric");
    large.update();
    fill();
  });
  state.on(["log", "nulls"], () => [large, ...small].forEach((each) => each.update()));
}

function everySite(store, state) {
  const name = store.headlineOf(state.get("metric"));
  const { collapse } = store.metric(name);
  const rows = worstFirst(store, name).map((site) => [
    store.data.sites[site],
    ...store.data.arms.map((_, arm) => measured(spread(store.runsOf(arm).map((run) => store.rest(name, run, site))).mean)),
    foundWords(store, site),
  ]);
  const columns = [`site: ${spoken(name)}`, ...store.data.arms.map((arm) => arm.name), "found, with the worst severity"];
  const order = `Sorted by what was found: faults before notes, the highest severity first; then by ${spoken(name)}, the ${collapse === "high" ? "highest" : "lowest"} mean of any arm first. Values are means over seeds at the last step.`;
  return el("div", {}, el("p", { class: "note" }, order), pagedTable("Every site, the worst first", columns, rows, { numeric: (place) => place <= store.data.arms.length }));
}

/** Kinds of what was found at a site, each with its worst severity, in the order of `worstFirst`. */
function foundWords(store, site) {
  const worst = new Map();
  for (const each of store.data.findings) {
    const before = worst.get(each.kind);
    if (each.site === site && (!before || each.severity > before.severity)) worst.set(each.kind, each);
  }
  const found = [...worst.values()].sort((a, b) => b.fault + b.severity - a.fault - a.severity);
  return found.map((each) => `${spoken(each.kind)} ${number(each.severity)}${each.fault ? "" : " (note)"}`).join(", ");
}
