// How variance is shared among the channels of the chosen site, and how these are correlated.
import { BOTH_WAYS } from "./colour.mjs";
import { measured } from "./csv.mjs";
import { el, name } from "./dom.mjs";
import { frame, lineFigure } from "./figure.mjs";
import { spoken } from "./format.mjs";
import { colourBar, enlarged, heatmap } from "./heatmap.mjs";
import { whenSeen } from "./lazy.mjs";
import { siteChoice } from "./choices.mjs";
import { curves, lacking, lastPoint, spread } from "./shape.mjs";
import { pagedTable } from "./tables.mjs";

const COUNTS = ["dead_channels", "saturated_channels", "redundant_channels", "lazy_channels"];

function varianceSpec(store, state) {
  const site = state.get("site");
  const data = curves(store, site, (run) => store.variances(run, site), false);
  const missing = data.arms.every((arm) => arm.mean.every(Number.isNaN));
  return {
    title: `Variance of the channels of ${store.data.sites[site]}`,
    context: "at the last step",
    unit: "squared activation, largest first",
    data,
    logY: true,
    xName: "channel",
    xTitle: "channel, the largest variance first",
    at: (place) => `channel ${data.x[place]} by variance`,
    without: lacking(store, site),
    gaps: missing ? [{ reason: "no channel has a variance above 0, or no series was kept", places: [site] }] : [],
  };
}

/** Dead, saturated, redundant and lazy channels of one site, as counts of all: means over the seeds of each arm. */
export function countRows(store, site) {
  const known = COUNTS.filter((each) => store.metric(each));
  const total = store.data.channels[site];
  const rows = store.data.arms.map((arm, place) => {
    const cells = known.map((each) => {
      const share = spread(store.runsOf(place).map((run) => lastPoint(store, store.metric(each), run, site).value)).mean;
      return measured(share * total, undefined, undefined, ` of ${total}`);
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
    const seeds = [...new Set(store.data.arms.map((_, arm) => store.runsOf(arm).length))].sort((a, b) => a - b).join(" or ");
    const told = `Counts at the last step${seeds === "1" ? "" : `, means over the seeds of an arm (${seeds})`}.`;
    counts.replaceChildren(el("h3", {}, "Channels that do nothing of their own, at this site"), el("p", { class: "note" }, told), pagedTable("Channels that do nothing of their own", columns, rows));
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
      ? ["The page carries correlations of the sites that change most: ", ...carried.flatMap((each, place) => [place ? ", " : "", siteButton(store, state, each)]), ". The others stand in the capture."]
      : ["No capture of the last step was kept; 'collapse-lab capture RUN' keeps it."];
    host.replaceChildren(el("p", { class: "note" }, ...(state.get("shown").some(Boolean) ? words : ["Every arm is switched off. Its button, above, shows it again."])));
    return;
  }
  host.replaceChildren(colourBar(BOTH_WAYS, "-1", "1", "correlation; channels alike stand together, at most 48 of largest variance, the first seed of each arm"), el("div", { class: "grid" }, ...found.map((each) => one(store, site, each))));
}

/** The name of a site, which chooses it. */
function siteButton(store, state, site) {
  return el("button", { type: "button", class: "link", onclick: () => state.set({ site }) }, name(store.data.sites[site]));
}

function one(store, site, { run, own }) {
  const arm = store.data.arms[store.data.runs[run].arm];
  const rows = Array.from({ length: own.count }, (_, y) => Array.from({ length: own.count }, (_, x) => (own.codes[y * own.side + x] - 128) / 127));
  const title = `Correlation at ${store.data.sites[site].slice(0, 120)}: ${arm.name}`;
  let drawn = null;
  const names = Array.from(own.channels.slice(0, own.count), (channel) => `channel ${channel}`);
  const parts = frame({ title: arm.name, unit: `seed ${store.data.runs[run].seed}`, canvases: () => [enlarged(drawn.canvas)], beside: () => ({ context: `correlation of the channels of ${store.data.sites[site].slice(0, 120)}, at the last step`, scale: { colours: BOTH_WAYS, low: "-1", high: "1" } }), table: () => pagedTable(title.slice(0, 100), ["channel", ...names], rows.map((row, place) => [names[place], ...row.map((value) => value.toFixed(2))])) });
  drawn = heatmap({ rows, ends: [-1, 1], colours: BOTH_WAYS, height: 280, label: `${title.slice(0, 160)}; arrow keys read cells`, tell: (row, column) => [`${names[row]}, ${names[column]}`, rows[row][column].toFixed(2)] });
  parts.plot.append(drawn.root);
  return parts.root;
}
