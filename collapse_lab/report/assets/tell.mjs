// What is said beside a chart: why it is empty, what is missing, which lines are equal, the values at the cursor.
import { measured, shown } from "./csv.mjs";
import { el, name, stroke, swatch } from "./dom.mjs";
import { number } from "./format.mjs";
import { equals } from "./overlap.mjs";
import { pagedTable } from "./tables.mjs";

/** Why nothing of a chart can be drawn, in one line; "" where something can. `visible` are {line, place, own}. */
export function emptiness(spec, visible) {
  if (!visible.length) return "Every line is switched off. Its button, above, shows it again.";
  const values = visible.flatMap(({ own }) => own.mean).filter(Number.isFinite);
  if (!values.length) {
    const reasons = [...(spec.gaps ?? []), ...(spec.without ?? []).map(([arm, reason]) => ({ reason: `${reason} in ${arm.slice(0, 80)}` }))].map(({ reason }) => reason);
    return `No value at any ${spec.xName}${reasons.length ? `: ${reasons.slice(0, 3).join("; ")}` : ""}.`;
  }
  return spec.logY && values.every((value) => value <= 0) ? "No value is above 0, and a logarithmic axis begins above it." : "";
}

/** What a chart leaves out, and which of its lines are equal, as elements. */
export function notes(store, spec, visible) {
  if (emptiness(spec, visible)) return [];
  return [...gapWords(store, spec), ...withoutWords(spec), ...logWords(spec, visible), ...equalWords(visible, spec)];
}

function gapWords(store, spec) {
  return (spec.gaps ?? []).slice(0, 3).map(({ reason, places }) => {
    const where = places.length === 1 ? name((spec.placeNames ?? store.data.sites)[places[0]]) : `${places.length} sites`;
    return el("span", {}, "No value at ", where, ` (${reason}). `);
  });
}

function withoutWords(spec) {
  return (spec.without ?? []).map(([arm, reason]) => el("span", {}, name(arm.slice(0, 80)), ` has ${reason}. `));
}

function logWords(spec, visible) {
  const held = (spec.data.lines ?? []).filter((line) => line.arm === undefined || visible.some(({ place }) => place === line.arm)).map((line) => line.values);
  const lost = spec.logY ? [...visible.map(({ own }) => own.mean), ...held].flat().filter((value) => value <= 0).length : 0;
  return lost ? [el("span", {}, `${lost} value${lost > 1 ? "s" : ""} at or below 0 ${lost > 1 ? "have" : "has"} no place on a logarithmic axis: lines end there. `)] : [];
}

function equalWords(visible, spec) {
  return equals(visible.map(({ own }) => own.mean)).map((group) => {
    const [first, ...others] = group.map((place) => name(visible[place].line.name.slice(0, 80)));
    const list = others.flatMap((each, place) => [place ? ", " : "", each]);
    return el("span", {}, ...list, others.length > 1 ? " equal " : " equals ", first, ` at every ${spec.xName}. `);
  });
}

/** The lines that arms are held against, each kind once: [{label, dash}]. */
export function kindsOf(lines = []) {
  return [...new Map(lines.map((line) => [line.label, { label: line.label, dash: line.dash ?? [4, 4] }])).values()];
}

/** The key of these kinds. */
export function keyWords(spec) {
  return kindsOf(spec.data.lines).map(({ label, dash }) => el("span", {}, stroke(dash), ` ${label}`));
}

/** The content of a tooltip at a place: a row for each line that has something there. */
export function tooltip(visible, spec, place) {
  const lines = spec.data.lines ?? [];
  const rows = visible.filter(({ own }) => own.mean[place] !== undefined).map(({ line, own, place: arm }) => {
    const held = lines.filter((each) => each.arm === arm && each.values[place] !== undefined).map((each) => `${each.label} ${number(each.values[place])}`);
    return el("div", { class: "row" }, swatch(line), name(line.name.slice(0, 80)), el("span", {}, shown(valueAt(own, place))), held.length ? el("span", { class: "held" }, held.join(", ")) : null);
  });
  const common = lines.filter((line) => line.arm === undefined).map((line) => el("div", { class: "row" }, el("span", {}), el("span", {}, line.label), el("span", {}, number(line.values[place]))));
  return [el("div", { class: "head" }, name(spec.at(place).slice(0, 300))), ...rows, ...common];
}

function valueAt({ mean, low, high }, place) {
  return measured(mean[place], low[place], high[place]);
}

/** The table behind a chart. */
export function tableBehind(visible, spec) {
  const ofShown = (spec.data.lines ?? []).filter((line) => line.arm === undefined || visible.some(({ place }) => place === line.arm));
  const titleOf = (line) => (line.arm === undefined ? line.label : `${visible.find(({ place }) => place === line.arm).line.name}, ${line.label}`);
  const columns = [spec.xName, ...visible.map(({ line }) => line.name), ...ofShown.map(titleOf)];
  const rows = spec.data.x.map((_, place) => [spec.at(place), ...visible.map(({ own }) => valueAt(own, place)), ...ofShown.map((line) => measured(line.values[place]))]);
  return pagedTable(`Table behind ${spec.title.slice(0, 80)}`, columns, rows);
}
