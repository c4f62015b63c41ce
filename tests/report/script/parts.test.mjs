import assert from "node:assert/strict";
import { test } from "node:test";
import { cell, copied, csv, measured, shown, split } from "../../../collapse_lab/report/assets/csv.mjs";
import { createLink } from "../../../collapse_lab/report/assets/link.mjs";
import { covered, equals } from "../../../collapse_lab/report/assets/overlap.mjs";
import { matches } from "../../../collapse_lab/report/assets/search.mjs";
import { createState } from "../../../collapse_lab/report/assets/state.mjs";

test("cells are quoted where a comma, a quote or a line ends them, and no formula is one", () => {
  assert.equal(csv([["a", "b,c"], ['say "x"', "two\nlines"]]), 'a,"b,c"\n"say ""x""","two\nlines"\n');
  assert.deepEqual(["=1+1", "+x", "@x", "-1.5", "-x", "1e-5"].map(cell), ["'=1+1", "'+x", "'@x", "-1.5", "'-x", "1e-5"]);
});

test("a number with an interval is told in short and copied whole, as value, low and high", () => {
  const rows = [["one", measured(Math.fround(48.4), 47.123456789, 50)], ["two", measured(NaN)], ["three", measured(2, 2, 2, " of 4")]];
  assert.deepEqual(rows.map((row) => shown(row[1])), ["48.4 [47.1, 50.0]", "–", "2.00 of 4"]);
  assert.deepEqual(copied(["site", "a"], rows), [["site", "a", "a, low", "a, high"], ["one", "48.4000015", "47.1234568", "50"], ["two", "", "", ""], ["three", "2", "", ""]]);
});

test("intervals that were written into the page are copied in columns of their own", () => {
  const written = [["metric", "V1", "V2"], ["rank", "38.9 [38.4, 39.3]", "–"], ["dead", "12 % [-1, 2e-5] (biased)", "7"]];
  assert.deepEqual(split(written), [["metric", "V1", "V1, low", "V1, high", "V1, remark", "V2"], ["rank", "38.9", "38.4", "39.3", "", "–"], ["dead", "12", "-1", "2e-5", "% (biased)", "7"]]);
});

test("a search finds every word anywhere, those that begin so first, and no more than asked", () => {
  const entries = ["stages.0.rank", "rank share", "effective rank", "dead"].map((text) => ({ text }));
  assert.deepEqual(matches(entries, "RANK").map((entry) => entry.text), ["rank share", "stages.0.rank", "effective rank"]);
  assert.deepEqual(matches(entries, "rank eff").map((entry) => entry.text), ["effective rank"]);
  assert.deepEqual(matches(entries, "  "), []);
  assert.equal(matches(entries, "a", 2).length, 2);
});

test("who asked for a choice hears of it when it changes, and only then", () => {
  const state = createState({ site: 0, metric: "a" });
  const heard = [];
  state.on(["site"], (changed) => heard.push(changed));
  state.set({ metric: "b" });
  state.set({ site: 0 });
  state.set({ site: 3, metric: "c" });
  assert.deepEqual(heard, [["site", "metric"]]);
  assert.equal(state.get("metric"), "c");
});

test("a cursor moves in all other charts of its group, and no chart echoes", () => {
  const link = createLink();
  const heard = [];
  const chart = (name) => link.join({ cursor(x) { heard.push([name, x]); link.cursor(this, x); }, zoom(low, high) { heard.push([name, low, high]); } });
  const [a, b] = [chart("a"), chart("b")];
  link.cursor(a, 4);
  link.zoom(b, 1, 2);
  assert.deepEqual(heard, [["b", 4], ["a", 1, 2]]);
  assert.deepEqual(link.range, [1, 2]);
  link.zoom(b, null, null);
  assert.equal(link.range, null);
  link.leave(b);
  link.cursor(a, 5);
  assert.equal(heard.length, 3);
});

test("a line counts those that lie on it at most places, nearer than a hundredth of the height", () => {
  assert.deepEqual(covered([[0, 1, 10], [0, 1, 10], [0.05, 1.05, 3]]), [2, 1, 0]);
  assert.deepEqual(covered([[0, 1, 10], [5, 6, 10]]), [0, 0], "at one place they meet");
  assert.deepEqual(covered([[0, 0, null], [0, 0, 7]]), [1, 0]);
  assert.deepEqual(covered([[null], [null]]), [0, 0]);
  assert.deepEqual(covered([[0], [0.5]], false, [[0, 100]]), [1, 0], "beside a high line");
  assert.deepEqual(covered([[1e-6, 1], [1e-5, 1]], true), [0, 0]);
});

test("equal are lines of the same values and the same gaps", () => {
  assert.deepEqual(equals([[1, NaN], [1, 2], [1, NaN], [1, NaN]]), [[0, 2, 3]]);
  assert.deepEqual(equals([[NaN], [NaN]]), []);
});
