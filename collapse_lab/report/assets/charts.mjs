// Line charts by uPlot: an arm is three series, its mean and the two edges of its band.
import { DASHES } from "./colour.mjs";
import { covered } from "./overlap.mjs";
import { tick } from "./format.mjs";
import { WHOLE, allWhole, drawable, labels, logSplits, places, rangeOf } from "./scales.mjs";

const FONT = "11px system-ui, sans-serif";

function translucent(colour, share) {
  const code = Number.parseInt(colour.slice(1), 16);
  return `rgba(${code >> 16}, ${(code >> 8) & 255}, ${code & 255}, ${share})`;
}

const WIDTH = 1.75;
const POINT = 4.5;

// A line that others lie on is wider by a rim on both sides for each of them, as far as that can be told apart.
function seriesOf({ arms, shown, logY }, data, ink) {
  const means = arms.map((_, place) => data[3 * place + 1]);
  const rims = covered(means, logY, data.slice(1)).map((count) => 1.75 * Math.min(3, count));
  return arms.flatMap((arm, place) => {
    const colour = ink.arms[arm.colour];
    const few = (self, series) => self.data[series].filter((value) => (value ?? null) !== null).length < 13;
    const edge = { show: shown[place], stroke: "transparent", width: 0, points: { show: false } };
    return [
      { label: arm.name, show: shown[place], stroke: colour, width: WIDTH + rims[place], dash: DASHES[arm.dash], points: { show: few, size: POINT + rims[place], fill: colour, width: 0 } },
      edge,
      { ...edge },
    ];
  });
}

function axesOf(spec, ink) {
  const labelled = (self, splits) => splits.map((value, place) => (labels(splits, spec.logY)[place] ? value : null));
  const grid = { stroke: ink.line, width: 1, ...(spec.logY ? { filter: labelled } : {}) };
  const common = { stroke: ink.soft, font: FONT, grid, ticks: { show: false } };
  const named = spec.names && {
    splits: (self) => places(spec.names.length, self.width - 60, spec.room ?? 30),
    values: (self, splits) => splits.map((place) => spec.names[place] ?? ""),
  };
  const plain = { ...ticksOf(spec.logX), space: 48, ...(!spec.logX && allWhole([spec.data.x]) ? { incrs: WHOLE } : {}) };
  const counts = !spec.logY && allWhole(spec.data.arms.flatMap((arm) => [arm.low, arm.high])) ? { incrs: WHOLE } : {};
  return [
    { ...common, size: 28, gap: 4, grid: { show: false }, ...(named ?? plain) },
    { ...common, size: (self, values) => 14 + 6.6 * Math.max(3, ...(values ?? []).map((text) => text.length)), gap: 4, ...ticksOf(spec.logY), ...counts, space: 34 },
  ];
}

function ticksOf(log) {
  const values = { values: (self, splits) => labels(splits, log) };
  return log ? { ...values, splits: (self, axis, low, high) => logSplits(low, high), filter: (self, splits) => splits } : values;
}

function columns(spec) {
  const { x, arms, lines = [] } = spec.data;
  const parts = arms.flatMap((arm) => [arm.mean, arm.low, arm.high]).map((values) => drawable(values, spec.logY));
  return [x, ...parts, ...lines.map((line) => drawable(line.values, spec.logY))];
}

/** Room for half the last label of the x axis, which stands at its end. */
function rightOf(spec) {
  const { x } = spec.data;
  const text = spec.names ? spec.names[spec.names.length - 1] : tick(x[x.length - 1] ?? 0);
  return Math.max(18, 6 + 3.6 * text.length);
}

/** Draw a chart into an element. `spec`: {arms, shown, data: {x, arms, lines}, logX, logY, names, height, hooks}; of the
 * numbers, undefined is skipped by its line, and one that cannot be drawn is a gap. A line with an `arm` is one of its. */
export function lineChart(host, spec, ink) {
  const data = columns(spec);
  const extra = (spec.data.lines ?? []).map((line) => ({ label: line.label, show: spec.shown[line.arm] ?? true, stroke: line.arm === undefined ? ink.soft : ink.arms[spec.arms[line.arm].colour], width: 1, dash: line.dash ?? [4, 4], points: { show: false } }));
  const bands = spec.arms.map((arm, place) => ({ series: [3 * place + 3, 3 * place + 2], fill: translucent(ink.arms[arm.colour], 0.16) }));
  const one = data[0].length === 1;
  const options = {
    width: Math.max(160, host.clientWidth),
    height: spec.height,
    padding: [10, rightOf(spec), 0, 0],
    legend: { show: false },
    series: [{}, ...seriesOf(spec, data, ink), ...extra],
    bands,
    axes: axesOf(spec, ink),
    scales: {
      x: { time: false, distr: spec.logX ? 3 : 1, range: (self, low, high) => xRange(spec, one, low, high) },
      y: { distr: spec.logY ? 3 : 1, range: (self, low, high) => rangeOf(low, high, spec.logY) },
    },
    cursor: { drag: { x: true, y: false }, points: { size: 6 }, y: false, focus: { prox: -1 }, dataIdx: (self, series, place) => place },
    hooks: spec.hooks,
  };
  return new uPlot(options, data, host);
}

function xRange(spec, one, low, high) {
  if (one || low === high) return spec.logX ? [low / 2, low * 2] : [low - 1, low + 1];
  const whole = low === spec.data.x[0] && high === spec.data.x[spec.data.x.length - 1];
  return spec.names && whole ? [low - 0.3, high + 0.3] : [low, high];
}

/** Show or hide arms of a chart with the `lines` that are theirs, all in one drawing. */
export function showArms(chart, shown, lines = []) {
  chart.batch(() => {
    shown.forEach((visible, arm) => {
      for (let part = 1; part <= 3; part++) {
        if (chart.series[3 * arm + part].show !== visible) chart.setSeries(3 * arm + part, { show: visible });
      }
    });
    lines.forEach(({ arm }, place) => {
      const own = 3 * shown.length + 1 + place;
      if (arm !== undefined && chart.series[own].show !== shown[arm]) chart.setSeries(own, { show: shown[arm] });
    });
  });
}
