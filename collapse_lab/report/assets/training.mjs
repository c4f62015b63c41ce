// Metrics over training: a heatmap of depth against step for each arm, and curves over steps.
import { SEQUENCE, ends } from "./colour.mjs";
import { el, name } from "./dom.mjs";
import { frame, lineFigure } from "./figure.mjs";
import { number, short, spoken } from "./format.mjs";
import { colourBar, enlarged, heatmap } from "./heatmap.mjs";
import { whenSeen } from "./lazy.mjs";
import { inside, nearest } from "./scales.mjs";
import { heat, lateSites, losses, ofKind, overSteps } from "./shape.mjs";
import { headlineChoice } from "./choices.mjs";
import { pagedTable } from "./tables.mjs";

function curveSpec(store, metricName) {
  const metric = store.metric(metricName);
  const sites = lateSites(store, metricName);
  return {
    title: spoken(metricName),
    unit: metric.unit,
    data: overSteps(store, metricName, sites),
    xName: "step",
    at: (place) => `step ${store.data.steps[place]}`,
  };
}

function lossSpec(store) {
  const data = losses(store);
  return { title: "loss", unit: "as logged", data, xName: "step", at: (place) => `step ${data.x[place]}` };
}

/** The section. */
export function trainingSection(host, store, state, link, depthLink) {
  const chooser = headlineChoice(store, state);
  const maps = el("div", { id: "heatmaps" });
  const curves = store.headline.map((each) => lineFigure(store, state, { read: () => curveSpec(store, each), link }));
  const logged = store.data.runs.some((run) => run.loss.shape[0] > 0);
  const loss = logged ? [lineFigure(store, state, { read: () => lossSpec(store), link })] : [];
  host.append(el("div", { class: "controls" }, chooser), maps, el("div", { class: "grid" }, ...[...loss, ...curves].map((each) => each.root)));
  const stale = whenSeen(maps, () => drawHeatmaps(maps, store, state, link, depthLink));
  state.on(["metric", "shown", "width"], stale);
}

function drawHeatmaps(host, store, state, link, depthLink) {
  const metricName = store.headlineOf(state.get("metric"));
  const metric = store.metric(metricName);
  const sites = ofKind(store, metric.kind);
  const arms = store.data.arms.map((arm, place) => ({ arm, place, rows: heat(store, metricName, place, sites) }));
  const shared = ends(arms.flatMap((each) => each.rows));
  const shown = arms.filter((each) => state.get("shown")[each.place]);
  for (const leave of host.leaving ?? []) leave();
  host.leaving = [];
  const parts = shown.map((each) => one(host, store, state, { ...each, metricName, metric, sites, shared, link, depthLink }));
  host.replaceChildren(colourBar(SEQUENCE, number(shared[0]), number(shared[1]), `${spoken(metricName)}, ${metric.unit}`), el("div", { class: "grid" }, ...parts));
}

function one(host, store, state, { arm, rows, metricName, metric, sites, shared, link, depthLink }) {
  const title = `${spoken(metricName)}: ${arm.name}`;
  const tell = (row, column) => [name(store.data.sites[sites[row]].slice(0, 300)), `step ${store.data.steps[column]}: ${number(rows[row][column])}`];
  let own = null;
  const { steps } = store.data;
  const depths = sites.map((site) => store.data.depths[site]);
  const behind = () => pagedTable(title.slice(0, 80), ["site", ...steps.map((step) => `step ${step}`)], rows.map((row, place) => [store.data.sites[sites[place]], ...row.map(number)]));
  const parts = frame({ title, unit: metric.unit, canvases: () => [enlarged(own.canvas)], table: behind });
  const words = { x: steps.map((step) => `step ${step}`), y: sites.map((site) => short(store.data.sites[site])) };
  own = heatmap({
    rows, ends: shared, colours: SEQUENCE, height: Math.max(140, Math.min(360, 9 * rows.length)), tell,
    label: `${title.slice(0, 160)}: depth downwards, steps to the right; arrow keys read cells, Enter opens the layer, 0 shows all`,
    choose: (row) => state.set({ site: sites[row] }),
    hover: (row, column) => {
      for (const axis of ["x", "y"]) own.line(axis, -1); // the cell itself is marked
      bySteps.cursor(row < 0 ? null : steps[column]);
      byDepth.cursor(row < 0 ? null : depths[row]);
    },
    widen: () => [bySteps, byDepth].forEach((each) => each.widen()),
  });
  const labels = axisOf(own, words);
  const bySteps = follow(own, "x", steps, link, labels);
  const byDepth = follow(own, "y", depths, depthLink, labels);
  host.leaving.push(bySteps.leave, byDepth.leave);
  parts.plot.classList.add("cells-host");
  parts.plot.append(own.root);
  return parts.root;
}

/** What stands below a heatmap: the first and the last step and site that it shows; the answer says them anew. */
function axisOf(own, words) {
  const axis = el("div", { class: "axis" });
  own.root.append(axis);
  const shown = { x: [0, words.x.length - 1], y: [0, words.y.length - 1] };
  return (change) => {
    const { x, y } = Object.assign(shown, change);
    axis.replaceChildren(...[words.x[x[0]], `${words.y[y[0]]} above, ${words.y[y[1]]} below`, words.x[x[1]]].map((text) => el("span", {}, text)));
  };
}

/** One axis of a heatmap in a group of charts: `numbers` are the places of its cells there. */
function follow(own, axis, numbers, link, labels) {
  const zoom = (low, high) => {
    const view = { [axis]: low === null ? [0, numbers.length - 1] : inside(numbers, low, high) };
    own.view(view);
    labels(view);
  };
  const member = link.join({ cursor: (at) => own.line(axis, at === null ? -1 : nearest(numbers, at)), zoom });
  zoom(...(link.range ?? [null, null]));
  return {
    cursor: (at) => link.cursor(member, at),
    widen: () => [zoom(null, null), link.zoom(member, null, null)],
    leave: () => link.leave(member),
  };
}
