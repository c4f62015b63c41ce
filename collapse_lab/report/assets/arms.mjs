// A button an arm: shown or hidden in every chart.
import { el, name, say, swatch } from "./dom.mjs";

/** The row of buttons; the state's `shown` is a list of true and false. */
export function armButtons(store, state) {
  const buttons = store.data.arms.map((arm, place) => {
    const seeds = store.runsOf(place).length;
    const toggle = () => {
      const shown = state.get("shown").map((visible, other) => (other === place ? !visible : visible));
      state.set({ shown });
      say(`${arm.name.slice(0, 80)} ${shown[place] ? "shown" : "hidden"}`);
    };
    const title = `${arm.name.slice(0, 300)}, ${seeds} seed${seeds === 1 ? "" : "s"}`;
    return el("button", { type: "button", "aria-pressed": "true", title, onclick: toggle }, swatch(arm), name(arm.name.slice(0, 300)));
  });
  state.on(["shown"], () => {
    state.get("shown").forEach((visible, place) => buttons[place].setAttribute("aria-pressed", String(visible)));
  });
  return el("div", { class: "arms", role: "group", "aria-label": "Arms in the charts" }, ...buttons);
}
