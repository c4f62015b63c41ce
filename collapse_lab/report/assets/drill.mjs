// One layer: what was found there, all its metrics, its feature maps, and the images that dominate it.
import { SEQUENCE } from "./colour.mjs";
import { measured } from "./csv.mjs";
import { el, name, swatch } from "./dom.mjs";
import { frame } from "./figure.mjs";
import { number, spoken } from "./format.mjs";
import { colourBar, enlarged } from "./heatmap.mjs";
import { whenSeen } from "./lazy.mjs";
import { paintMosaic } from "./mosaic.mjs";
import { siteChoice } from "./choices.mjs";
import { spread } from "./shape.mjs";
import { pagedTable } from "./tables.mjs";

const KEEP = { maps: "collapse-lab capture RUN --keep-maps 16", rows: "collapse-lab capture RUN --keep-rows 4096" };

/** Every metric of a site under every policy, a row each: means over seeds by arm, and why there is none. */
export function metricRows(store, site) {
  const rows = [];
  for (const metric of store.data.metrics) {
    for (const policy of store.data.policies) {
      const points = store.data.runs.map((_, run) => store.last(metric.name, policy, run, site));
      if (points.every((point) => !point.status)) continue;
      const cells = store.data.arms.map((_, arm) => measured(spread(store.runsOf(arm).map((run) => points[run].value)).mean));
      const odd = points.find((point) => point.status && point.status !== "ok");
      rows.push([spoken(metric.name), policy, metric.unit, ...cells, odd ? `${spoken(odd.status)}${odd.reason ? `: ${odd.reason}` : ""}` : ""]);
    }
  }
  return rows;
}

/** The section. */
export function drillSection(host, store, state) {
  const content = el("div", { id: "layer-content" });
  const back = el("button", { type: "button", class: "small", hidden: true, onclick: () => backTo(state.get("chosenIn")) }, "Back to the chart");
  host.append(el("div", { class: "controls" }, siteChoice(store, state), back), content);
  state.on(["chosenIn"], () => (back.hidden = !state.get("chosenIn")));
  const stale = whenSeen(content, () => fill(content, store, state));
  state.on(["site", "shown"], stale);
}

function backTo(chart) {
  chart.scrollIntoView({ block: "center" });
  chart.focus({ preventScroll: true });
}

function fill(host, store, state) {
  const site = state.get("site");
  const { data } = store;
  const title = el("h3", { id: "layer-name" }, name(data.sites[site]), ` (${data.kinds[site].slice(0, 40)}, ${data.channels[site]} channels)`);
  host.replaceChildren(title, evidence(store, site), el("h3", {}, "Every metric at the last step"), metricTable(store, site), ...pictures(store, state, site));
}

/** What was found at a site, once for each arm and kind: the worst of its seeds, with how many there are. */
export function foundAt(store, site) {
  const found = new Map();
  for (const each of store.data.findings) {
    if (each.site !== site) continue;
    const key = `${store.data.runs[each.run].arm} ${each.kind} ${each.fault}`;
    const own = found.get(key) ?? { worst: each, runs: new Set(), onset: each.onset };
    own.runs.add(each.run);
    own.onset = Math.min(own.onset, each.onset);
    if (each.severity > own.worst.severity) own.worst = each;
    found.set(key, own);
  }
  return [...found.values()].sort((a, b) => b.worst.fault + b.worst.severity - a.worst.fault - a.worst.severity);
}

function evidence(store, site) {
  const found = foundAt(store, site);
  if (!found.length) return el("p", { class: "note" }, "Nothing was found at this site in any run.");
  const items = found.map(({ worst, runs, onset }) => {
    const arm = store.data.runs[worst.run].arm;
    const since = onset === 0 ? "before training" : `step ${onset}`;
    const kind = el("span", { class: worst.fault ? "bad" : null }, `${spoken(worst.kind)}${worst.fault ? "" : " (note)"}`);
    const rows = worst.metrics.map((metric) => `${spoken(metric)} ${evidenceOf(store, metric, worst.run, site)}`).join("; ");
    const seeds = `, ${runs.size} of ${store.runsOf(arm).length} seeds since ${since}${runs.size > 1 ? "; in the worst of them" : ":"} the layer `;
    return el("li", {}, swatch(store.data.arms[arm]), " ", kind, " in ", name(store.data.arms[arm].name), seeds, name(worst.text), `. Rests on ${rows}. `, el("span", { class: "note" }, worst.advice));
  });
  return el("ul", { class: "evidence" }, ...items);
}

function evidenceOf(store, metric, run, site) {
  const values = store.metric(metric) ? store.data.policies.map((policy) => [policy, store.last(metric, policy, run, site).value]) : [];
  const known = values.filter(([, value]) => !Number.isNaN(value)).map(([policy, value]) => `${number(value)} (${policy})`);
  return known.join(", ") || "without a value";
}

function metricTable(store, site) {
  const columns = ["metric", "positions", "unit", ...store.data.arms.map((arm) => arm.name), "remark"];
  const numeric = (place) => place > 2 && place < 3 + store.data.arms.length;
  return pagedTable("Every metric of this site", columns, metricRows(store, site), { size: 30, numeric });
}

function pictures(store, state, site) {
  const shown = store.data.pictures.runs.filter((run) => state.get("shown")[store.data.runs[run].arm]);
  const maps = shown.flatMap((run) => store.data.pictures.images.map((id, image) => ({ run, id, own: store.maps(run, site, image) })).filter((each) => each.own));
  const dominating = shown.map((run) => ({ run, images: store.dominating(run, site) })).filter((each) => each.images.length);
  const far = store.data.pictures.runs.length && !store.data.pictures.sites.includes(site);
  return [
    el("h3", {}, "Feature maps of kept images"),
    ...(maps.length ? [mapsKey(store, site, maps[0].own), el("div", { class: "grid" }, ...maps.map((each) => mosaic(store, site, each))), ...lacking(store, state, site, maps)] : [missing(far, store, "maps")]),
    el("h3", {}, "Images that dominate"),
    ...(dominating.length ? dominating.map((each) => imageList(store, site, each)) : [missing(far, store, "rows")]),
  ];
}

function missing(far, store, what) {
  if (far && store.data.pictures.images.length) return el("p", { class: "note" }, `The page carries ${what} of the ${store.data.pictures.sites.length} sites that change most; those of the others stand in the capture.`);
  return el("p", { class: "note" }, `No ${what} of this site were kept, or its positions are no square. `, el("code", {}, KEEP[what]), " keeps them.");
}

function mapsKey(store, site, { channels }) {
  const all = store.data.channels[site];
  const which = channels < all ? `the first ${channels} of ${all} channels` : `all ${all} channels`;
  return colourBar(SEQUENCE, "least", "most", `activation, each image on a scale of its own; ${which}, eight in a row`);
}

/** Arms that are shown and have the site, but no maps of it. */
function lacking(store, state, site, maps) {
  const without = store.data.arms.filter((_, arm) => state.get("shown")[arm] && store.depthOf(arm, site) !== null && !maps.some(({ run }) => store.data.runs[run].arm === arm));
  if (!without.length) return [];
  const names = without.flatMap((arm, place) => [place ? ", " : "", name(arm.name)]);
  return [el("p", { class: "note" }, "No maps of ", ...names, " were kept. ", el("code", {}, KEEP.maps), " keeps them.")];
}

function mosaic(store, site, { run, id, own }) {
  const arm = store.data.arms[store.data.runs[run].arm];
  const title = `${store.data.sites[site].slice(0, 120)}: ${arm.name}, image ${id}`;
  const canvas = el("canvas", { role: "img", "aria-label": `Feature maps of ${own.channels} channels, ${title.slice(0, 200)}` });
  paintMosaic(canvas, own);
  const table = () => {
    const size = own.side ** 2;
    const means = Array.from({ length: own.channels }, (_, channel) => {
      const { mean, low, high } = spread(Array.from(own.values.subarray(channel * size, (channel + 1) * size), (code) => code / 255));
      return [`channel ${channel}`, ...[mean, low, high].map((value) => measured(value))];
    });
    return pagedTable(title.slice(0, 80), ["channel", "mean", "least", "most"], means);
  };
  const unit = `image ${id}, seed ${store.data.runs[run].seed}, ${own.channels} of ${store.data.channels[site]} channels`;
  const beside = () => ({ context: `feature maps of ${store.data.sites[site].slice(0, 120)}, at the last step`, scale: { colours: SEQUENCE, low: "least", high: "most" } });
  const parts = frame({ title: arm.name, unit, canvases: () => [enlarged(canvas)], beside, table });
  parts.plot.classList.add("mosaic");
  const pixels = thumbnail(store, id, "the image that went in: ");
  parts.plot.classList.toggle("pictured", Boolean(pixels));
  parts.plot.append(...(pixels ? [pixels] : []), canvas);
  return parts.root;
}

function imageList(store, site, { run, images }) {
  const arm = store.data.arms[store.data.runs[run].arm];
  const count = store.rowImages(run, site);
  const items = images.map(([id, share]) => {
    const picture = thumbnail(store, id) ?? el("div", { class: "none" });
    return el("li", {}, picture, `${number(100 * share)} % of the scatter, ${number(share * count)} times an equal share`, el("br"), `image ${id.slice(0, 22)}`);
  });
  const told = `, seed ${store.data.runs[run].seed}: of the rows that were kept of ${count} images. If none dominated, each would hold ${number(100 / count)} %.`;
  return el("div", {}, el("p", { class: "note" }, name(arm.name), told), el("ul", { class: "images" }, ...items));
}

function thumbnail(store, id, before = "") {
  const pixels = store.data.pictures.thumbnails[id];
  return pixels ? el("img", { src: `data:image/png;base64,${pixels}`, alt: `${before}image ${id}` }) : null;
}
