// The chosen site and the chosen headline metric, wherever they can be chosen.
import { choice } from "./dom.mjs";
import { spoken } from "./format.mjs";

/** A labelled list of the sites that the page carries whole. */
export function siteChoice(store, state) {
  const options = store.data.detailed.map((site) => [site, store.data.sites[site].slice(0, 120)]);
  const { select, label } = choice("Site", options, state.get("site"), (value) => state.set({ site: Number(value) }));
  state.on(["site"], () => (select.value = String(state.get("site"))));
  return label;
}

/** A labelled list of the headline metrics. */
export function headlineChoice(store, state) {
  const options = store.headline.map((each) => [each, spoken(each)]);
  const { select, label } = choice("Metric", options, store.headlineOf(state.get("metric")), (value) => state.set({ metric: value }));
  state.on(["metric"], () => (select.value = store.headlineOf(state.get("metric"))));
  return label;
}
