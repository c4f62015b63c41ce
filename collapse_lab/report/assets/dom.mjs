// Elements out of plain data. Whatever comes from a run becomes a text node or an attribute, never markup.

/** An element with attributes and children; "class", "on..." and properties that need it are set as such. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const LONGEST = 400;

/** A name that a run gave: isolated, so that its direction turns nothing around it, and cut where nobody reads on. */
export function name(text) {
  const kept = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return el("bdi", { class: "name" }, ...kept.split(/(?<=_)/).flatMap((part, place) => (place ? [el("wbr"), part] : [part])));
}

/** The line of an arm in its colour and dash. */
export function swatch(arm) {
  return sample(`swatch arm-${arm.colour} dash-${arm.dash}`);
}

/** A thin line of no arm, in a pattern of dashes. */
export function stroke(dash) {
  const svg = sample("swatch thin");
  svg.firstChild.setAttribute("stroke-dasharray", dash.join(" "));
  return svg;
}

function sample(look) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", look);
  svg.setAttribute("viewBox", "0 0 28 8");
  svg.setAttribute("width", "28");
  svg.setAttribute("height", "8");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(space, "line");
  for (const [attribute, value] of [["x1", 1], ["y1", 4], ["x2", 27], ["y2", 4]]) line.setAttribute(attribute, value);
  svg.append(line);
  return svg;
}

/** A labelled choice of options [value, text]. */
export function choice(label, options, chosen, react) {
  const select = el("select", { onchange: () => react(select.value) }, ...options.map(([value, text]) => el("option", { value: String(value) }, text)));
  select.value = String(chosen);
  return { select, label: el("label", {}, label, select) };
}

/** A labelled tick box. */
export function tickBox(label, ticked, react) {
  const box = el("input", { type: "checkbox", checked: ticked, onchange: () => react(box.checked) });
  return el("label", {}, box, label);
}

/** Scroll to a section and put the focus on its heading. */
export function goTo(id) {
  const section = document.getElementById(id);
  const heading = section?.querySelector("h2");
  heading?.setAttribute("tabindex", "-1");
  section?.scrollIntoView({ block: "start" });
  heading?.focus({ preventScroll: true });
}

const TWICE = 300; // ms within which a second click makes a double one

/** `read(event)` gives what a single click does, or nothing; dragging is no click, and a double click means another thing. */
export function onClick(element, read) {
  let [from, timer] = [0, 0];
  element.addEventListener("pointerdown", (event) => (from = event.clientX));
  element.addEventListener("click", (event) => {
    clearTimeout(timer);
    const act = Math.abs(event.clientX - from) < 4 && event.detail < 2 && read(event);
    if (act) timer = setTimeout(act, TWICE);
  });
}

/** Show a site that was chosen in a chart: its layer stands far below. */
export function openLayer(state, site) {
  state.set({ site, chosenIn: document.activeElement?.closest(".lines, .cells") ?? null });
  goTo("layer");
  say(`One layer: ${document.querySelector("#layer select")?.selectedOptions[0]?.textContent ?? ""}`);
}

/** Say something to who listens rather than looks. */
export function say(text) {
  const place = document.getElementById("spoken");
  if (place) place.textContent = text;
}
