// How variance is shared among the channels of the chosen site, and how these are correlated.
import { BOTH_WAYS } from "./colour.mjs";
import { el, name } from "./dom.mjs";
import { frame, lineFigure } from "./figure.mjs";
import { number, spoken } from "./format.mjs";
import { colourBar, enlarged, heatmap } from "./heatmap.mjs";
import { whenSeen } from "./lazy.mjs";
import { siteChoice } from "./choices.mjs";
import { curves, lastPoint, spread } from "./shape.mjs";
import { pagedTable, tableOf } from "./tables.mjs";

const COUNTS = ["dead_channels", "saturated_channels", "redundant_channels", "lazy_channels"];

function varianceSpec(store, state) {
  const site = state.get("site");
  const data = curves(store, site, (run) => store.variances(run, site), false);
  const missing = data.arms.every((arm) => arm.mean.every(Number.isNaN));
  return {
    title: `Variance of the channels of ${store.data.sites[site]}`,
    unit: "squared activation, largest first",
    data,
    logY: true,
    xName: "channel",
    at: (place) => `channel ${data.x[place]} by variance`,
    gaps: missing ? [{ reason: "no channel has a variance above 0, or no series was kept", places: [site] }] : [],
  };
}

/** Dead, saturated, redundant and lazy channels of one site, as counts of all. */
export function countRows(store, site) {
  const known = COUNTS.filter((each) => store.metric(each));
  const total = store.data.channels[site];
  const rows = store.data.arms.map((arm, place) => {
    const cells = known.map((each) => {
      const share = spread(store.runsOf(place).map((run) => lastPoint(store, store.metric(each), run, site).value)).mean;
      return Number.isNaN(share) ? "–" : `${number(share * total)} of ${total}`;
    });
    return [arm.name, ...cells];
  });
  return { columns: ["arm", ...known.map(spoken)], rows };
}

/** The section. */
export function channelsSection(host, store, state) {
  const figure = lineFigure(store, state, { read: () => varianceSpec(store, state), height: 260 });
  const counts = el("div", {});
  const heats = el("div", { id: "correlations" });
  const fill = () => {
    const { columns, rows } = countRows(store, state.get("site"));
    counts.replaceChildren(el("h3", {}, "Channels that do nothing of their own, at this site"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Channels that do nothing of their own" }, tableOf(columns, rows)));
  };
  fill();
  host.append(el("div", { class: "controls" }, siteChoice(store, state)), el("div", { class: "pair" }, figure.root, counts), el("h3", {}, "Correlation of the channels"), heats);
  const stale = whenSeen(heats, () => correlations(heats, store, state));
  state.on(["site"], () => {
    figure.update();
    fill();
    stale();
  });
  state.on(["shown", "width"], stale);
}

function correlations(host, store, state) {
  const site = state.get("site");
  const found = store.data.pictures.runs
    .filter((run) => state.get("shown")[store.data.runs[run].arm])
    .map((run) => ({ run, own: store.correlation(run, site) }))
    .filter((each) => each.own);
  if (!found.length) {
    const carried = store.data.pictures.sites;
    const words = carried.length && store.data.pictures.runs.length
      ? ["The page carries correlations of the sites that change most: ", ...carried.flatMap((each, place) => [place ? ", " : "", name(store.data.sites[each])]), ". The others stand in the capture."]
      : ["No capture of the last step was kept; 'collapse-lab capture RUN' keeps it."];
    host.replaceChildren(el("p", { class: "note" }, ...words));
    return;
  }
  host.replaceChildren(colourBar(BOTH_WAYS, "-1", "1", "correlation; channels alike stand together, at most 48 of largest variance, the first seed of each arm"), el("div", { class: "grid" }, ...found.map((each) => one(store, site, each))));
}

function one(store, site, { run, own }) {
  const arm = store.data.arms[store.data.runs[run].arm];
  const rows = Array.from({ length: own.count }, (_, y) => Array.from({ length: own.count }, (_, x) => (own.codes[y * own.side + x] - 128) / 127));
  const title = `Correlation at ${store.data.sites[site].slice(0, 120)}: ${arm.name}`;
  let drawn = null;
  const names = Array.from(own.channels.slice(0, own.count), (channel) => `channel ${channel}`);
  const parts = frame({ title: arm.name, unit: `seed ${store.data.runs[run].seed}`, canvases: () => [enlarged(drawn.canvas)], table: () => pagedTable(title.slice(0, 100), ["channel", ...names], rows.map((row, place) => [names[place], ...row.map((value) => value.toFixed(2))])) });
  drawn = heatmap({ rows, ends: [-1, 1], colours: BOTH_WAYS, height: 280, label: `${title.slice(0, 160)}; arrow keys read cells`, tell: (row, column) => [`${names[row]}, ${names[column]}`, rows[row][column].toFixed(2)] });
  parts.plot.append(drawn.root);
  return parts.root;
}
