import assert from "node:assert/strict";
import { test } from "node:test";
import { logTicks, number, short, tick, withInterval } from "../../../collapse_lab/report/assets/format.mjs";
import { decode, fromLog, offset } from "../../../collapse_lab/report/assets/decode.mjs";
import { allWhole, between, drawable, inside, logSplits, nearest, places, rangeOf } from "../../../collapse_lab/report/assets/scales.mjs";
import { BOTH_WAYS, SEQUENCE, codeOf, ends } from "../../../collapse_lab/report/assets/colour.mjs";

test("numbers keep three digits that count, and none is a dash", () => {
  assert.deepEqual([NaN, null, 0, 12345678, 123.4, 12.34, 1.234, 0.1234, 0.01234, 0.00001234, -2, Infinity].map(number),
    ["–", "–", "0", "1.2e7", "123", "12.3", "1.23", "0.123", "0.0123", "1.2e-5", "-2.00", "∞"]);
  assert.equal(withInterval(1, 0.5, 1.5), "1.00 [0.500, 1.50]");
  assert.equal(withInterval(1, NaN, NaN), "1.00");
});

test("small ticks are said without change", () => {
  assert.deepEqual([0.00001, 0.0001, 0.001, 0.01, 0.1, 1, 1000, 1e5, 2.5e-7, 0.30000000000000004].map(tick),
    ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1", "1000", "1e5", "2.5e-7", "0.3"]);
});

test("a logarithmic axis labels powers of ten, and more where there are few", () => {
  const splits = (from, to) => Array.from({ length: to - from }, (_, power) => Array.from({ length: 9 }, (_, digit) => (digit + 1) * 10 ** (from + power))).flat();
  assert.deepEqual(logTicks(splits(-6, -2)).filter(Boolean), ["1e-6", "1e-5", "1e-4", "0.001"]);
  assert.deepEqual(logTicks([0.001, 0.002, 0.003, 0.004, 0.005]).filter(Boolean), ["0.001", "0.002", "0.003", "0.005"]);
  assert.deepEqual(logTicks([null, 0.01, null]), ["", "0.01", ""]);
});

test("ticks of a logarithmic axis lie inside it, wherever it begins", () => {
  assert.deepEqual(logSplits(0.08, 0.35), [0.08, 0.09, 0.1, 0.2, 0.3]);
  assert.deepEqual(logSplits(3, 4), [3, 4]);
  assert.deepEqual(logSplits(1e-8, 1), [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 0.001, 0.01, 0.1, 1]);
  assert.ok(logSplits(1e-300, 1e300).length < 20);
});

test("a site is said by the numbers that tell it apart", () => {
  assert.equal(short("stages.2.blocks.1.act"), "2.1");
  assert.equal(short("encoder"), "encoder");
  assert.equal(short("a_very_long_name_of_a_site").length, 14);
});

test("typed arrays come out of base64 as they went in", () => {
  const bytes = (array) => Buffer.from(array.buffer).toString("base64");
  const floats = decode({ type: "f4", shape: [2, 2], data: bytes(new Float32Array([1.5, NaN, -2, 3])) });
  assert.deepEqual([...floats.values], [1.5, NaN, -2, 3]);
  assert.equal(floats.values[offset(floats.shape, 1, 0)], -2);
  assert.equal(offset([4, 3, 2], 1), 6);
  assert.deepEqual([...decode({ type: "u2", shape: [3], data: bytes(new Uint16Array([0, 1, 65535])) }).values], [0, 1, 65535]);
});

test("codes of a logarithm begin and end at its ends, and 0 is no number", () => {
  assert.ok(Number.isNaN(fromLog(0, [-3, 2])));
  assert.ok(Math.abs(fromLog(1, [-3, 2]) / 0.001 - 1) < 1e-12);
  assert.ok(Math.abs(fromLog(65535, [-3, 2]) / 100 - 1) < 1e-12);
});

test("no axis is without height, and a logarithm draws nothing at or below zero", () => {
  assert.deepEqual(drawable([1, 0, -1, NaN, Infinity], true), [1, null, null, null, null]);
  assert.deepEqual(drawable([1, 0, NaN], false), [1, 0, null]);
  for (const log of [true, false]) for (const [low, high] of [[1, 1], [null, null], [0.5, 2]]) {
    const [from, to] = rangeOf(low, high, log);
    assert.ok(from < to);
    assert.ok(!log || from > 0);
  }
});

test("counts are whole, shares and no values are not", () => {
  assert.deepEqual([allWhole([[1, NaN], [0, undefined]]), allWhole([[0.5, 1]]), allWhole([[NaN]])], [true, false, false]);
});

test("places on one axis lie between the same neighbours on another", () => {
  assert.equal(between([0, 1, 2], [0, 0.1, 1], 1.5), 0.55);
  assert.equal(between([0, 1, 2], [0, 0.1, 1], -1), 0);
  assert.equal(between([0, 1, 2], [0, 0.1, 1], 9), 1);
  assert.equal(nearest([0, 0.4, 1], 0.6), 1);
  assert.deepEqual(places(10, 300, 60), [0, 2, 4, 6, 8]);
});

test("colours rise in lightness from end to end, and no value has none", () => {
  const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
  for (let code = 1; code < 256; code++) assert.ok(light(SEQUENCE[code]) >= light(SEQUENCE[code - 1]) - 1);
  assert.ok(Math.min(...BOTH_WAYS[128]) > 240);
  assert.equal(codeOf(NaN, [0, 1]), -1);
  assert.deepEqual([0, 0.5, 1, 7].map((value) => codeOf(value, [0, 1])), [0, 128, 255, 255]);
  assert.deepEqual(ends([[3, NaN], [1, 2]]), [1, 3]);
  assert.deepEqual(ends([[NaN]]), [0, 1]);
});

test("cells of a zoomed heatmap are those between two numbers, and never none", () => {
  assert.deepEqual(inside([0, 50, 100, 150], 50, 149), [1, 2]);
  assert.deepEqual(inside([0, 0.1, 0.30000001, 1], 0.1, 0.3), [1, 2]);
  assert.deepEqual(inside([0, 50, 100], 60, 90), [1, 1]);
  assert.deepEqual(inside([0, 50, 100], 60, 300), [2, 2]);
  assert.deepEqual(inside([5], 0, 9), [0, 0]);
});
