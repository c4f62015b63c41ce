// Metrics through depth: one large chart of any metric, and small ones of all headline metrics.
import { choice, el, tickBox } from "./dom.mjs";
import { lineFigure } from "./figure.mjs";
import { number, short, spoken } from "./format.mjs";
import { ofKind, spread, throughDepth, worstFirst } from "./shape.mjs";
import { pagedTable } from "./tables.mjs";

/** Lines that a metric is held against: what unrelated channels would show, and the same before training. */
export function nullLines(store, name, sites) {
  const lines = [];
  const runs = store.data.runs.map((_, run) => run);
  if (name === "effective_rank" && store.metric("effective_rank_null_share")) {
    const at = (site) => runs.map((run) => store.last(name, store.metric(name).policy, run, site).value / store.last("effective_rank_null_share", store.metric(name).policy, run, site).value);
    lines.push({ label: "if channels were unrelated", dash: [6, 3], values: sites.map((site) => spread(at(site)).mean) });
  }
  const first = store.data.steps.indexOf(0);
  if (first >= 0 && store.data.steps.length > 1 && store.metric(name).headline) {
    lines.push({ label: "before training", dash: [2, 3], values: sites.map((site) => spread(runs.map((run) => store.point(name, run, first, site).value)).mean) });
  }
  return lines.filter((line) => line.values.some((value) => !Number.isNaN(value)));
}

function specOf(store, state, name, kind) {
  const metric = store.metric(name);
  const sites = ofKind(store, kind || metric.kind);
  const found = throughDepth(store, name, sites);
  const lines = state.get("nulls") ? nullLines(store, name, sites) : [];
  return {
    title: spoken(name),
    unit: `${metric.unit}${metric.collapse ? `, collapse is ${metric.collapse}` : ""}`,
    data: { x: sites.map((_, place) => place), arms: found.arms, lines },
    names: sites.map((site) => short(store.data.sites[site])),
    room: 9 + 6.5 * Math.max(...sites.map((site) => short(store.data.sites[site]).length)),
    logY: state.get("log"),
    shared: sites.map((site) => store.data.depths[site]),
    xName: "site",
    at: (place) => store.data.sites[sites[place]],
    gaps: found.gaps,
    sites,
  };
}

/** The section. */
export function depthSection(host, store, state, link) {
  const kinds = [...new Set(store.data.detailed.map((site) => store.data.kinds[site]))];
  const names = store.data.metrics.map((metric) => [metric.name, spoken(metric.name)]);
  const pick = (spec, place) => state.set({ site: spec.sites[place] });
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
  const rows = worstFirst(store, name).map((site) => [
    store.data.sites[site],
    ...store.data.arms.map((_, arm) => number(spread(store.runsOf(arm).map((run) => store.rest(name, run, site))).mean)),
    [...new Set(store.data.findings.filter((each) => each.site === site).map((each) => spoken(each.kind)))].join(", "),
  ]);
  const columns = [`site: ${spoken(name)}`, ...store.data.arms.map((arm) => arm.name), "found"];
  return pagedTable("Every site, the worst first", columns, rows, { numeric: (place) => place <= store.data.arms.length });
}
