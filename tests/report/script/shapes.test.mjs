import assert from "node:assert/strict";
import { test } from "node:test";
import { createStore } from "../../../collapse_lab/report/assets/store.mjs";
import { effectsThroughDepth } from "../../../collapse_lab/report/assets/effects.mjs";
import { foundAt, metricRows } from "../../../collapse_lab/report/assets/drill.mjs";
import { countRows } from "../../../collapse_lab/report/assets/channels.mjs";
import { firstSite } from "../../../collapse_lab/report/assets/main.mjs";
import { shown } from "../../../collapse_lab/report/assets/csv.mjs";
import { emptiness } from "../../../collapse_lab/report/assets/tell.mjs";
import { even } from "../../../collapse_lab/report/assets/training.mjs";
import { curves, depthColumns, heat, lastPoint, lateSites, ofKind, overSteps, spread, throughDepth, worstFirst } from "../../../collapse_lab/report/assets/shape.mjs";
import { mosaicRows } from "../../../collapse_lab/report/assets/mosaic.mjs";
import { nullLines } from "../../../collapse_lab/report/assets/depth.mjs";
import { drawable } from "../../../collapse_lab/report/assets/scales.mjs";

const TYPES = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };
const pack = (type, shape, values) => ({ type, shape, data: Buffer.from(new TYPES[type](values).buffer).toString("base64") });

/** Two arms, three runs (two seeds of the first arm), two steps, two sites, one headline metric and another. */
function document() {
  const value = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, NaN, 12];
  return {
    arms: [{ name: "a", colour: 0, dash: 0 }, { name: "b", colour: 1, dash: 1 }],
    runs: [{ name: "a0", arm: 0, seed: 0, step: 10 }, { name: "a1", arm: 0, seed: 1, step: 10 }, { name: "b0", arm: 1, seed: 0, step: 10 }],
    steps: [0, 10], sites: ["one", "two"], kinds: ["block", "act"], depths: [0, 1], late: 2 / 3, channels: [4, 8], detailed: [0, 1], policies: ["pooled"],
    statuses: ["", "ok", "degenerate"],
    metrics: [
      { name: "rank", headline: true, policy: "pooled", kind: "block", unit: "", collapse: "low" },
      { name: "other", headline: false, policy: "", kind: "block", unit: "", collapse: "" },
    ],
    headline: { value: pack("f4", [1, 3, 2, 2], value), low: pack("f4", [1, 3, 2, 2], value.map((each) => each - 1)), high: pack("f4", [1, 3, 2, 2], value.map((each) => each + 1)), status: pack("u1", [1, 3, 2, 2], value.map((each) => (Number.isNaN(each) ? 2 : 1))) },
    last: {
      value: pack("f4", [2, 1, 3, 2], [3, 4, 7, 8, NaN, 12, 1, 1, 1, 1, 1, 1]), status: pack("u1", [2, 1, 3, 2], [1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 0, 1]),
      reason: pack("u2", [2, 1, 3, 2], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), reasons: ["", "all rows are the same"], rest: pack("f4", [1, 3, 2], [3, 4, 7, 8, NaN, 12]),
    },
    series: { rank: pack("u4", [2, 3], [1, 2, 0, 1, 2, 3]), spectra: pack("u2", [3, 2, 2, 3], new Array(36).fill(65535)), spectra_ends: [-1, 1], floor: pack("f4", [3, 2, 2], new Array(12).fill(0.1)), variances: pack("u2", [3, 2, 3], new Array(18).fill(1)), variances_ends: [0, 1] },
    pictures: { runs: [0], sites: [1], images: ["7"], maps: [[pack("u1", [1, 2, 1, 1], [5, 6])]], dominating: [[[["7", 0.5]]]], thumbnails: {}, correlations: pack("u1", [1, 1, 2, 2], [255, 128, 128, 255]), correlation_channels: pack("u4", [1, 1, 2], [3, 1]) },
    effects: {
      contrasts: [{ name: "grn", kind: "effect" }, { name: "b - a", kind: "difference" }],
      places: [{ name: "one", kind: "block", depth: 0, site: 0 }, { name: "two", kind: "act", depth: 1, site: 1 }, { name: "three", kind: "block", depth: 1, site: null }],
      value: pack("f4", [1, 2, 3], [1, 2, 3, NaN, 5, 6]), low: pack("f4", [1, 2, 3], [0, 1, 2, NaN, 4, 5]), high: pack("f4", [1, 2, 3], [2, 3, 4, NaN, 6, 7]), status: pack("u1", [1, 2, 3], [1, 1, 1, 2, 1, 1]),
    },
    findings: { kinds: [{ kind: "dead", fault: true, advice: "try", metrics: ["rank"] }], found: [[0, 1, 0, 0.4, 10, "is dead"], [1, 1, 0, 0.9, 0, "is deader"]] },
  };
}

const bothSites = [{ depth: 0, of: [0, 0] }, { depth: 1, of: [1, 1] }];

test("means and bands are over those seeds that have a value", () => {
  assert.deepEqual(spread([1, NaN, 3]), { mean: 2, low: 1, high: 3 });
  assert.ok(Number.isNaN(spread([NaN]).mean));
  const found = throughDepth(createStore(document()), "rank", bothSites);
  assert.deepEqual(found.arms[0], { mean: [5, 6], low: [3, 4], high: [7, 8] });
});

test("a single seed has its interval as band, and a gap says why", () => {
  const found = throughDepth(createStore(document()), "rank", bothSites);
  assert.deepEqual([found.arms[1].mean[1], found.arms[1].low[1], found.arms[1].high[1]], [12, 11, 13]);
  assert.ok(Number.isNaN(found.arms[1].mean[0]));
  assert.deepEqual(found.gaps, [{ reason: "degenerate: all rows are the same", places: [0] }]);
});

test("over steps, each seed is averaged over sites before the seeds are", () => {
  const { x, arms } = overSteps(createStore(document()), "rank", () => [0, 1]);
  assert.deepEqual(x, [0, 10]);
  assert.deepEqual(arms[0], { mean: [3.5, 5.5], low: [1.5, 3.5], high: [5.5, 7.5] });
  assert.deepEqual(heat(createStore(document()), "rank", 0, [0, 1]), [[3, 5], [4, 6]]);
});

test("sites of another kind are shown where there are none of the wanted one", () => {
  const store = createStore(document());
  assert.deepEqual(ofKind(store, "act"), [1]);
  assert.deepEqual(ofKind(store, "stem"), [0, 1]);
});

test("sites with the worst finding come first", () => assert.deepEqual(worstFirst(createStore(document()), "rank"), [1, 0]));

test("findings of one arm and kind are one, as bad as the worst seed and as old as the first", () => {
  const [found] = foundAt(createStore(document()), 1);
  assert.deepEqual([found.worst.text, found.runs.size, found.onset], ["is deader", 2, 0]);
  assert.deepEqual(foundAt(createStore(document()), 0), []);
});

test("every metric of a site has a row, with its remark", () => {
  const rows = metricRows(createStore(document()), 0);
  assert.deepEqual(rows.map((row) => row.map(shown)), [["rank", "pooled", "", "5.00", "–", "degenerate: all rows are the same"], ["other", "pooled", "", "1.00", "1.00", ""]]);
});

test("a value at the last step has its interval under the policy it is drawn under", () => {
  const store = createStore(document());
  assert.deepEqual(lastPoint(store, store.metric("rank"), 0, 1), { value: 4, status: "ok", reason: "", low: 3, high: 5 });
});

test("curves end where the site has no more channels", () => {
  const store = createStore(document());
  const found = curves(store, 0, (run) => store.spectrum(run, 0, 0), true);
  assert.deepEqual(found.x, [1, 2]);
  assert.deepEqual(found.arms[0].mean, [1, 1]);
});

test("every arm has its own line of what was before training, however the arms began", () => {
  const lines = nullLines(createStore(document()), "rank", bothSites);
  assert.deepEqual(lines.map((line) => [line.label, line.arm, line.values]), [["before training", 0, [3, 4]], ["before training", 1, [9, 10]]]);
});

/** The second arm is of a network that has the second site only, the first arm of one that has the first only. */
const twoNetworks = () => ({ ...document(), own_depths: [[0.5, null], [null, 1]], kinds: ["block", "block"] });

test("networks with sites of their own lie beside each other by relative depth, and a line skips what is not its own", () => {
  const store = createStore(twoNetworks());
  const { relative, columns } = depthColumns(store, [0, 1]);
  assert.ok(relative);
  assert.deepEqual(columns, [{ depth: 0.5, of: [0, null] }, { depth: 1, of: [null, 1] }]);
  const { arms, gaps } = throughDepth(store, "rank", columns);
  assert.deepEqual([arms[0].mean, arms[1].mean, gaps], [[5, undefined], [undefined, 12], []]);
  assert.deepEqual(drawable([undefined, NaN, 1], false), [undefined, null, 1]);
  assert.deepEqual(nullLines(store, "rank", columns).map((line) => line.values), [[3, undefined], [undefined, 10]]);
  assert.deepEqual([lateSites(store, "rank", 0), lateSites(store, "rank", 1)], [[0], [1]]);
});

test("an arm that lacks some sites of another keeps these in their order", () => {
  const store = createStore({ ...document(), own_depths: [[0, 1], [null, 1]] });
  assert.deepEqual(depthColumns(store, [0, 1]), { relative: false, columns: [{ depth: 0, of: [0, null] }, { depth: 1, of: [1, 1] }] });
});

test("an empty chart says why", () => {
  const own = (mean) => [{ line: {}, place: 0, own: { mean } }];
  const spec = { xName: "site", gaps: [{ reason: "insufficient: one image", places: [0] }] };
  assert.match(emptiness(spec, []), /switched off/);
  assert.match(emptiness(spec, own([NaN, undefined])), /No value at any site: insufficient: one image/);
  assert.match(emptiness({ ...spec, logY: true }, own([0, -1, NaN])), /No value is above 0/);
  assert.equal(emptiness({ ...spec, logY: true }, own([0, 1])), "");
});

test("the reason is that of the positions under which a metric without any value was measured", () => {
  const own = document();
  own.policies = ["pooled", "sampled"];
  const shape = [2, 2, 3, 2];
  own.last = { ...own.last, value: pack("f4", shape, new Array(24).fill(NaN)), status: pack("u1", shape, Array.from({ length: 24 }, (_, place) => (place >= 18 ? 2 : 0))), reason: pack("u2", shape, Array.from({ length: 24 }, (_, place) => (place >= 18 ? 1 : 0))) };
  assert.deepEqual(throughDepth(createStore(own), "other", bothSites).gaps, [{ reason: "degenerate: all rows are the same", places: [0, 1] }]);
});

test("a page opens on the worst site, or the worst of those that it carries correlations of", () => {
  const found = (site, pictures = {}) => {
    const own = document();
    own.findings.found = [[0, site, 0, 0.9, 10, "is dead"]];
    return firstSite(createStore({ ...own, pictures: { ...own.pictures, ...pictures } }));
  };
  assert.deepEqual([found(1), found(0), found(0, { runs: [] })], [1, 1, 0]);
});

test("counts of channels are numbers that say of how many", () => {
  const own = document();
  own.metrics[1] = { ...own.metrics[1], name: "dead_channels" };
  const { columns, rows } = countRows(createStore(own), 0);
  assert.deepEqual([columns, rows.map((row) => row.map(shown))], [["arm", "dead channels"], [["a", "4.00 of 4"], ["b", "4.00 of 4"]]]);
});

test("steps that are not equally far apart are told from those that are", () => {
  assert.deepEqual([even([0, 75, 150, 300]), even([0, 50, 100]), even([0])], [false, true, true]);
});

test("pictures are there for the sites and runs that carry them, and only there", () => {
  const store = createStore(document());
  assert.deepEqual([store.maps(0, 0, 0), store.maps(2, 1, 0), store.correlation(2, 1)], [null, null, null]);
  const { channels, count } = store.correlation(0, 1);
  assert.deepEqual([[...channels], count], [[3, 1], 2]);
  assert.deepEqual(mosaicRows(store.maps(0, 1, 0))[0].slice(0, 3), [5, -1, 6]);
  assert.deepEqual(store.dominating(0, 1), [["7", 0.5]]);
});

test("effects are drawn where the metric is judged, and a gap says why", () => {
  const found = effectsThroughDepth(createStore(document()), "rank");
  assert.deepEqual(found.places, [0, 2]);
  assert.deepEqual(found.arms[0], { mean: [1, 3], low: [0, 2], high: [2, 4] });
  assert.deepEqual([found.arms[1].mean[1], found.gaps], [6, [{ reason: "degenerate", places: [0] }]]);
});

test("a metric that is no headline one is drawn as the first of these, where only these are", () => {
  const store = createStore(document());
  assert.deepEqual([store.headlineOf("rank"), store.headlineOf("other")], ["rank", "rank"]);
});
