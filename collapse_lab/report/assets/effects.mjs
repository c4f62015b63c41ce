// What factors and arms change, through depth.
import { lineButtons } from "./arms.mjs";
import { headlineChoice } from "./choices.mjs";
import { el, openLayer } from "./dom.mjs";
import { lineFigure } from "./figure.mjs";
import { short, spoken } from "./format.mjs";

/** Every contrast of a headline metric at those places where the metric is judged: {places, arms, gaps}. */
export function effectsThroughDepth(store, name) {
  const { contrasts, places } = store.data.effects;
  const all = places.map((_, place) => place);
  const judged = all.filter((place) => places[place].kind === store.metric(name).kind);
  const chosen = judged.length ? judged : all;
  const gaps = new Map();
  const arms = contrasts.map((_, contrast) => {
    const points = chosen.map((place) => store.effect(name, contrast, place));
    points.forEach(({ value, status }, at) => {
      const reason = status.replaceAll("_", " ");
      if (Number.isNaN(value) && reason) gaps.set(reason, (gaps.get(reason) ?? new Set()).add(chosen[at]));
    });
    return { mean: points.map((p) => p.value), low: points.map((p) => p.low), high: points.map((p) => p.high) };
  });
  return { places: chosen, arms, gaps: [...gaps].map(([reason, found]) => ({ reason, places: [...found] })) };
}

function specOf(store, state) {
  const metric = store.metric(store.headlineOf(state.get("metric")));
  const { places, arms, gaps } = effectsThroughDepth(store, metric.name);
  const own = places.map((place) => store.data.effects.places[place]);
  const label = (place) => (place.site === null ? place.name : short(place.name));
  return {
    title: `What changes the ${spoken(metric.name)}`,
    unit: `${metric.unit}, more or less; collapse is ${metric.collapse}`,
    data: { x: own.map((_, place) => place), arms, lines: [{ label: "no difference", dash: [], values: own.map(() => 0) }] },
    names: own.map(label),
    room: 9 + 6.5 * Math.max(...own.map((place) => label(place).length)),
    shared: own.map((place) => place.depth),
    xName: "site",
    xTitle: "site, from the first to the last",
    context: "at the last step",
    at: (place) => own[place].name,
    gaps,
    placeNames: store.data.effects.places.map((place) => place.name),
    sites: own.map((place) => place.site),
  };
}

/** The chart of the section. */
export function effectsSection(host, store, state, link) {
  const lines = store.data.effects.contrasts;
  const pick = (spec, place) => spec.sites[place] !== null && openLayer(state, spec.sites[place]);
  const figure = lineFigure(store, state, { read: () => specOf(store, state), height: 340, large: true, link, pick, lines, key: "shownEffects" });
  const buttons = lineButtons(lines, state, { key: "shownEffects", label: "Lines of this chart" });
  host.append(el("div", { class: "controls" }, headlineChoice(store, state), buttons), figure.root);
  state.on(["metric"], figure.update);
}
