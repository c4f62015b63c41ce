// Light or dark: as the system says, until the reader says otherwise; kept for the next visit where that is allowed.
import { el } from "./dom.mjs";

const KEY = "collapse-lab-theme";

/** The colours of the page as it looks now. */
export function inks() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--ink"), soft: read("--soft"), faint: read("--faint"), line: read("--line"), paper: read("--paper"), accent: read("--accent"),
    arms: Array.from({ length: 7 }, (_, place) => read(`--a${place}`)),
  };
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // a page in a mail has no storage
  }
}

function remember(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // then it lasts as long as the page
  }
}

export function isDark() {
  const asked = document.documentElement.dataset.theme;
  return asked ? asked === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The button; the state's `theme` counts every change of appearance. */
export function themeButton(state) {
  const asked = remembered();
  if (asked === "dark" || asked === "light") document.documentElement.dataset.theme = asked;
  const button = el("button", { type: "button", id: "theme", onclick: turn });
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", isDark() ? "Turn to light" : "Turn to dark");
  };
  const changed = () => {
    label();
    state.set({ theme: state.get("theme") + 1 });
  };
  function turn() {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    remember(theme);
    changed();
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  label();
  return button;
}
