// Metrics over training: a heatmap of depth against step for each arm, and curves over steps.
import { SEQUENCE, ends } from "./colour.mjs";
import { measured } from "./csv.mjs";
import { el, name, openLayer } from "./dom.mjs";
import { frame, lineFigure } from "./figure.mjs";
import { number, short, spoken } from "./format.mjs";
import { colourBar, enlarged, heatmap, labelled } from "./heatmap.mjs";
import { whenSeen } from "./lazy.mjs";
import { inside, nearest } from "./scales.mjs";
import { heat, lateSites, losses, ofKind, overSteps, sitesOf } from "./shape.mjs";
import { headlineChoice } from "./choices.mjs";
import { pagedTable } from "./tables.mjs";

function curveSpec(store, metricName) {
  const metric = store.metric(metricName);
  const sites = store.data.arms.map((_, arm) => lateSites(store, metricName, arm));
  const { gaps, ...data } = overSteps(store, metricName, (arm) => sites[arm]);
  return {
    title: spoken(metricName),
    unit: metric.unit,
    context: `mean over the ${metric.kind} sites in the last third of depth`,
    data,
    xName: "step",
    xTitle: "training step",
    at: (place) => `step ${store.data.steps[place]}`,
    gaps,
  };
}

function lossSpec(store) {
  const data = losses(store);
  return { title: "loss", unit: "as logged", data, xName: "step", xTitle: "training step", at: (place) => `step ${data.x[place]}` };
}

/** The logged losses, for a page whose runs have no capture yet; nothing where nothing was logged. */
export function lossFigures(store, state, link) {
  const logged = store.data.runs.some((run) => run.loss.shape[0] > 0);
  return logged ? [lineFigure(store, state, { read: () => lossSpec(store), link })] : [];
}

/** The section. */
export function trainingSection(host, store, state, link, depthLink) {
  const chooser = headlineChoice(store, state);
  const maps = el("div", { id: "heatmaps" });
  const curves = store.headline.map((each) => lineFigure(store, state, { read: () => curveSpec(store, each), link }));
  host.append(el("div", { class: "controls" }, chooser), maps, el("div", { class: "grid" }, ...[...lossFigures(store, state, link), ...curves].map((each) => each.root)));
  const stale = whenSeen(maps, () => drawHeatmaps(maps, store, state, link, depthLink));
  state.on(["metric", "shown", "width"], stale);
}

/** Whether numbers stand equally far apart. */
export function even(numbers) {
  return numbers.every((each, place) => place < 2 || each - numbers[place - 1] === numbers[1] - numbers[0]);
}

function drawHeatmaps(host, store, state, link, depthLink) {
  const metricName = store.headlineOf(state.get("metric"));
  const metric = store.metric(metricName);
  const arms = store.data.arms.map((arm, place) => {
    const sites = sitesOf(store, place, ofKind(store, metric.kind));
    return { arm, place, sites, rows: heat(store, metricName, place, sites) };
  });
  const shared = ends(arms.flatMap((each) => each.rows));
  const shown = arms.filter((each) => state.get("shown")[each.place]);
  for (const leave of host.leaving ?? []) leave();
  host.leaving = [];
  const drawn = shown.filter(({ rows }) => rows.some((row) => row.some(Number.isFinite)));
  const parts = drawn.map((each) => one(host, store, state, { ...each, metricName, metric, shared, link, depthLink }));
  const steps = `Columns are the captured steps${even(store.data.steps) ? "" : ", of equal width though not equally far apart"}; rows the ${metric.kind} sites, the first above.`;
  const none = shown.filter((each) => !drawn.includes(each)).map(({ arm, place, sites }) => el("p", { class: "note" }, name(arm.name), sites.length || !store.captured(place) ? " has no value at any step." : ` has no ${metric.kind} site.`));
  const hidden = shown.length ? [] : [el("p", { class: "note" }, "Every arm is switched off. Its button, above, shows it again.")];
  host.replaceChildren(colourBar(SEQUENCE, number(shared[0]), number(shared[1]), `${spoken(metricName)}, ${metric.unit}`), el("p", { class: "note" }, steps), ...none, ...hidden, el("div", { class: "grid" }, ...parts));
}

function one(host, store, state, { arm, rows, metricName, metric, sites, shared, link, depthLink, place: armPlace }) {
  const title = `${spoken(metricName)}: ${arm.name}`;
  const tell = (row, column) => [name(store.data.sites[sites[row]].slice(0, 300)), `step ${store.data.steps[column]}: ${number(rows[row][column])}`];
  let own = null;
  let labels = null;
  const { steps } = store.data;
  const depths = sites.map((site) => store.depthOf(armPlace, site));
  const behind = () => pagedTable(title.slice(0, 80), ["site", ...steps.map((step) => `step ${step}`)], rows.map((row, place) => [store.data.sites[sites[place]], ...row.map((value) => measured(value))]));
  const scale = { colours: SEQUENCE, low: number(shared[0]), high: number(shared[1]) };
  const beside = () => ({ context: "captured steps to the right, sites downwards", xTitle: "training step", scale });
  const parts = frame({ title, unit: metric.unit, canvases: () => [enlarged(own.canvas, labels.marks())], beside, table: behind });
  const height = Math.max(140, Math.min(360, 9 * rows.length));
  own = heatmap({
    rows, ends: shared, colours: SEQUENCE, height, tell,
    label: `${title.slice(0, 160)}: depth downwards, steps to the right; arrow keys read cells, Enter opens the layer, 0 shows all`,
    choose: (row) => openLayer(state, sites[row]),
    hover: (row, column) => {
      for (const axis of ["x", "y"]) own.line(axis, -1); // the cell itself is marked
      bySteps.cursor(row < 0 ? null : steps[column]);
      byDepth.cursor(row < 0 ? null : depths[row]);
    },
    widen: () => [bySteps, byDepth].forEach((each) => each.widen()),
  });
  labels = labelled(own, { x: steps.map(String), y: sites.map((site) => short(store.data.sites[site])) }, height);
  const bySteps = follow(own, "x", steps, link, labels.label);
  const byDepth = follow(own, "y", depths, depthLink, labels.label);
  host.leaving.push(bySteps.leave, byDepth.leave);
  parts.plot.classList.add("cells-host");
  parts.plot.append(labels.root);
  return parts.root;
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
