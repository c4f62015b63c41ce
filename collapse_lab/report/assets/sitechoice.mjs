// The chosen site, wherever it can be chosen.
import { choice } from "./dom.mjs";

/** A labelled list of the sites that the page carries whole. */
export function siteChoice(store, state) {
  const options = store.data.detailed.map((site) => [site, store.data.sites[site].slice(0, 120)]);
  const { select, label } = choice("Site", options, state.get("site"), (value) => state.set({ site: Number(value) }));
  state.on(["site"], () => (select.value = String(state.get("site"))));
  return label;
}
