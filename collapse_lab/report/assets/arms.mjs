// A button a line: shown or hidden in every chart that has it.
import { el, name, say, swatch } from "./dom.mjs";

/** The row of buttons of arms, or of other lines {name, colour, dash}; `key` names the state's list of true and false. */
export function lineButtons(lines, state, { key, label, titleOf = (place) => lines[place].name.slice(0, 300) }) {
  const buttons = lines.map((line, place) => {
    const toggle = () => {
      const shown = state.get(key).map((visible, other) => (other === place ? !visible : visible));
      state.set({ [key]: shown });
      say(`${line.name.slice(0, 80)} ${shown[place] ? "shown" : "hidden"}`);
    };
    const pressed = String(state.get(key)[place]);
    return el("button", { type: "button", "aria-pressed": pressed, title: titleOf(place), onclick: toggle }, swatch(line), name(line.name.slice(0, 300)));
  });
  state.on([key], () => {
    state.get(key).forEach((visible, place) => buttons[place].setAttribute("aria-pressed", String(visible)));
  });
  return el("div", { class: "arms", role: "group", "aria-label": label }, ...buttons);
}

/** Those of the arms, for all charts. */
export function armButtons(store, state) {
  const titleOf = (place) => {
    const seeds = store.runsOf(place).length;
    return `${store.data.arms[place].name.slice(0, 300)}, ${seeds} seed${seeds === 1 ? "" : "s"}`;
  };
  return lineButtons(store.data.arms, state, { key: "shown", label: "Arms in the charts", titleOf });
}
