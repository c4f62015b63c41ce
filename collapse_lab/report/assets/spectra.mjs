// Singular values of the chosen site for all arms, at any captured step.
import { el, tickBox } from "./dom.mjs";
import { lineFigure } from "./figure.mjs";
import { siteChoice } from "./choices.mjs";
import { curves, lacking, spread } from "./shape.mjs";

function specOf(store, state) {
  const site = state.get("site");
  const step = state.get("spectrumStep");
  const relative = state.get("relative");
  const read = (run) => store.spectrum(run, step, site);
  const data = curves(store, site, read, relative);
  const floors = store.data.runs.map((_, run) => store.floor(run, step, site) / (relative ? read(run)[0] : 1));
  const floor = spread(floors).high;
  data.lines = Number.isNaN(floor) ? [] : [{ label: "floor, below which all is rounding", values: data.x.map(() => floor) }];
  const missing = data.arms.every((arm) => arm.mean.every(Number.isNaN));
  return {
    title: store.data.sites[site],
    context: `step ${store.data.steps[step]}`,
    unit: relative ? "singular value over the largest, by direction" : "singular value, by direction",
    data,
    logY: true,
    logX: state.get("logDirections"),
    xName: "direction",
    xTitle: "direction, the strongest first",
    at: (place) => `direction ${data.x[place]}`,
    without: lacking(store, site),
    gaps: missing ? [{ reason: "no spectrum was kept of this site at this step", places: [site] }] : [],
  };
}

/** The section. */
export function spectraSection(host, store, state) {
  const steps = store.data.steps;
  const said = el("output", {}, `step ${steps[state.get("spectrumStep")]}`);
  const slider = el("input", { type: "range", min: "0", max: String(steps.length - 1), step: "1", id: "spectrum-step", oninput: () => state.set({ spectrumStep: Number(slider.value) }) });
  slider.value = String(steps.length - 1);
  slider.setAttribute("aria-valuetext", said.textContent);
  const figure = lineFigure(store, state, { read: () => specOf(store, state), height: 340, large: true });
  const relative = tickBox("over the largest", true, (ticked) => state.set({ relative: ticked }));
  const logX = tickBox("log directions", false, (ticked) => state.set({ logDirections: ticked }));
  host.append(el("div", { class: "controls" }, siteChoice(store, state), el("label", {}, "Training step", slider), said, relative, logX), figure.root);
  state.on(["site", "spectrumStep", "relative", "logDirections"], () => {
    said.textContent = `step ${steps[state.get("spectrumStep")]}`;
    slider.setAttribute("aria-valuetext", said.textContent);
    figure.update();
  });
}
