// The page comes to life: data are read, the bar and the sections are filled.
import { armButtons } from "./arms.mjs";
import { channelsSection } from "./channels.mjs";
import { depthSection } from "./depth.mjs";
import { el, goTo } from "./dom.mjs";
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
import { lossFigures, trainingSection } from "./training.mjs";

/** The site that the page opens on: the worst, or the worst of those with correlations where it has none. */
export function firstSite(store) {
  const { data } = store;
  const worst = [...data.findings].filter((each) => data.detailed.includes(each.site)).sort((a, b) => b.fault + b.severity - a.fault - a.severity);
  const sites = [...new Set([...worst.map((each) => each.site), ...[...data.pictures.sites].reverse()])];
  return sites.find((site) => data.pictures.runs.some((run) => store.correlation(run, site))) ?? sites[0] ?? data.detailed[data.detailed.length - 1];
}

function initial(store) {
  const { data } = store;
  return {
    shown: data.arms.map(() => true), metric: store.headline[0], kind: "", log: false, nulls: true, theme: 0, width: 0,
    site: firstSite(store), chosenIn: null, spectrumStep: data.steps.length - 1, relative: true, logDirections: false,
    shownEffects: (data.effects?.contrasts ?? []).map((contrast) => contrast.shown),
  };
}

function entriesOf(store, state) {
  const metrics = store.data.metrics.map((metric) => ({ kind: "metric", text: spoken(metric.name), go: () => (state.set({ metric: metric.name }), goTo("depth")) }));
  const sites = store.data.detailed.map((site) => ({ kind: "site", text: store.data.sites[site], go: () => (state.set({ site, chosenIn: null }), goTo("layer")) }));
  return [...metrics, ...sites];
}

function watchWidth(state) {
  let timer = 0;
  new ResizeObserver(() => {
    clearTimeout(timer);
    timer = setTimeout(() => state.set({ width: document.body.clientWidth }), 80);
  }).observe(document.body);
}

/** What is known of runs without a capture: their losses. */
function startWithout(store, state) {
  const figures = lossFigures(store, state, createLink());
  const host = document.getElementById("training-charts");
  if (figures.length) host?.append(el("div", { class: "grid" }, ...figures.map((each) => each.root)));
  else host?.append(el("p", { class: "note" }, "No loss was logged yet."));
}

function startWhole(store, state) {
  const depth = createLink();
  const steps = createLink();
  const host = (id) => document.getElementById(id);
  depthSection(host("depth-charts"), store, state, depth);
  trainingSection(host("training-charts"), store, state, steps, depth);
  spectraSection(host("spectra-charts"), store, state);
  channelsSection(host("channels-charts"), store, state);
  drillSection(host("layer-charts"), store, state);
  if (store.data.effects) effectsSection(host("effects-charts"), store, state, depth);
}

/** Fill the page. */
export function start() {
  const holder = document.getElementById("data");
  const store = createStore(JSON.parse(holder.textContent));
  holder.remove();
  document.documentElement.classList.add("js");
  const ready = store.data.sites.length > 0 && store.headline.length > 0;
  const state = createState(ready ? initial(store) : { theme: 0, width: 0, shown: store.data.arms.map(() => true) });
  makeCopyable(document.querySelector("main"));
  document.getElementById("bar").append(armButtons(store, state), ...(ready ? [searchBox(entriesOf(store, state))] : []), themeButton(state));
  (ready ? startWhole : startWithout)(store, state);
  addEventListener("beforeprint", drawAll);
  watchWidth(state);
  document.body.append(el("span", { hidden: true, id: "ready" }));
}
