// The page comes to life: data are read, the bar and the sections are filled.
import { armButtons } from "./arms.mjs";
import { channelsSection } from "./channels.mjs";
import { depthSection } from "./depth.mjs";
import { el } from "./dom.mjs";
import { drillSection } from "./drill.mjs";
import { effectsSection } from "./effects.mjs";
import { spoken } from "./format.mjs";
import { drawAll } from "./lazy.mjs";
import { createLink } from "./link.mjs";
import { searchBox } from "./search.mjs";
import { spectraSection } from "./spectra.mjs";
import { createState } from "./state.mjs";
import { createStore } from "./store.mjs";
import { makeCopyable } from "./tables.mjs";
import { themeButton } from "./theme.mjs";
import { trainingSection } from "./training.mjs";

function firstSite(data) {
  const worst = [...data.findings].filter((each) => data.detailed.includes(each.site)).sort((a, b) => b.fault + b.severity - a.fault - a.severity);
  return worst.length ? worst[0].site : data.detailed[data.detailed.length - 1];
}

function initial(store) {
  const { data } = store;
  return {
    shown: data.arms.map(() => true), metric: store.headline[0], kind: "", log: false, nulls: true, theme: 0, width: 0,
    site: firstSite(data), spectrumStep: data.steps.length - 1, relative: true, logDirections: false,
    shownEffects: (data.effects?.contrasts ?? []).map((contrast) => contrast.shown),
  };
}

function entriesOf(store, state) {
  const to = (id) => document.getElementById(id)?.scrollIntoView({ block: "start" });
  const metrics = store.data.metrics.map((metric) => ({ kind: "metric", text: spoken(metric.name), go: () => (state.set({ metric: metric.name }), to("depth")) }));
  const sites = store.data.detailed.map((site) => ({ kind: "site", text: store.data.sites[site], go: () => (state.set({ site }), to("layer")) }));
  return [...metrics, ...sites];
}

function watchWidth(state) {
  let timer = 0;
  new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(() => state.set({ width: document.body.clientWidth }), 80);
  }).observe(document.body);
}

/** Fill the page. */
export function start() {
  const holder = document.getElementById("data");
  const store = createStore(JSON.parse(holder.textContent));
  holder.remove();
  document.documentElement.classList.add("js");
  const state = createState(store.data.sites.length ? initial(store) : { theme: 0, shown: store.data.arms.map(() => true) });
  const bar = document.getElementById("bar");
  makeCopyable(document.querySelector("main"));
  const ready = store.data.sites.length > 0 && store.headline.length > 0;
  bar.append(armButtons(store, state), ...(ready ? [searchBox(entriesOf(store, state))] : []), themeButton(state));
  if (!ready) return;
  const depth = createLink();
  const steps = createLink();
  const host = (id) => document.getElementById(id);
  depthSection(host("depth-charts"), store, state, depth);
  trainingSection(host("training-charts"), store, state, steps, depth);
  spectraSection(host("spectra-charts"), store, state);
  channelsSection(host("channels-charts"), store, state);
  drillSection(host("layer-charts"), store, state);
  if (store.data.effects) effectsSection(host("effects-charts"), store, state, depth);
  state.on(["site"], () => host("layer-name")?.setAttribute("tabindex", "-1"));
  addEventListener("beforeprint", drawAll);
  watchWidth(state);
  document.body.append(el("span", { hidden: true, id: "ready" }));
}
