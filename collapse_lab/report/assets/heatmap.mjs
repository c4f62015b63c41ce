// Heatmaps on a canvas: one pixel a cell, enlarged without smoothing; values are read by pointer or arrow keys.
import { codeOf } from "./colour.mjs";
import { el, onClick } from "./dom.mjs";
import { places } from "./scales.mjs";

/** Paint rows of codes (-1: no value) with a table of colours into a canvas of one pixel a cell. */
export function paint(canvas, rows, colours, empty = [128, 128, 128, 40]) {
  canvas.width = Math.max(1, rows[0]?.length ?? 1);
  canvas.height = Math.max(1, rows.length);
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  rows.forEach((row, y) =>
    row.forEach((code, x) => {
      const pixel = code < 0 ? empty : [...colours[code], 255];
      image.data.set(pixel, 4 * (y * canvas.width + x));
    }),
  );
  pen.putImageData(image, 0, 0);
}

/** A heatmap of numbers. `tell(row, column)` gives the lines of its tooltip; `choose(row)` is called on click and Enter;
 * `hover(row, column)` on every move, (-1, -1) at the end; `widen()` on a double click and the key 0. What it gives:
 * `line(axis, place)` marks a row ("y") or column ("x") from end to end, -1: none; `view({x, y})` shows the cells between
 * two places of each axis. */
export function heatmap({ rows, ends, colours, height, label, tell, choose, hover = () => {}, widen = () => {} }) {
  const canvas = el("canvas", { class: "cells", tabindex: "0", role: "img", "aria-label": label });
  const mark = el("div", { class: "mark", hidden: true });
  const tip = el("div", { class: "tip", hidden: true });
  const lines = { x: el("div", { class: "line x", hidden: true }), y: el("div", { class: "line y", hidden: true }) };
  const root = el("div", { class: "heat" }, canvas, lines.x, lines.y, mark, tip);
  const codes = rows.map((row) => row.map((value) => codeOf(value, ends)));
  const shown = { x: [0, rows[0].length - 1], y: [0, rows.length - 1] };
  const linked = { x: -1, y: -1 };
  let at = [-1, -1];
  canvas.style.height = lines.x.style.height = `${height}px`;

  const count = (axis) => shown[axis][1] - shown[axis][0] + 1;
  const cell = () => [canvas.clientWidth / count("x"), canvas.clientHeight / count("y")];
  const within = (axis, place) => Math.min(shown[axis][1], Math.max(shown[axis][0], place));

  const show = (row, column, quiet) => {
    at = [row, column];
    mark.hidden = tip.hidden = row < 0;
    if (row >= 0) {
      const [wide, tall] = cell();
      const [left, top] = [(column - shown.x[0]) * wide, (row - shown.y[0]) * tall];
      mark.style.width = `${wide}px`;
      mark.style.height = `${tall}px`;
      mark.style.transform = `translate(${left}px, ${top}px)`;
      const [head, ...said] = tell(row, column);
      tip.replaceChildren(el("div", { class: "head" }, head), ...said.map((text) => el("div", {}, text)));
      tip.style.transform = `translate(${Math.max(0, Math.min(canvas.clientWidth - 150, left + wide + 8))}px, ${Math.min(canvas.clientHeight - 20, top + tall)}px)`;
    }
    if (!quiet) hover(row, column);
  };
  const line = (axis, place) => {
    linked[axis] = place;
    lines[axis].hidden = place < shown[axis][0] || place > shown[axis][1];
    if (lines[axis].hidden) return;
    const middle = (place - shown[axis][0] + 0.5) * cell()[axis === "x" ? 0 : 1];
    lines[axis].style.transform = `translate${axis.toUpperCase()}(${middle}px)`;
  };
  const view = (wanted) => {
    Object.assign(shown, wanted);
    paint(canvas, codes.slice(shown.y[0], shown.y[1] + 1).map((row) => row.slice(shown.x[0], shown.x[1] + 1)), colours);
    show(-1, -1, true);
    for (const axis of ["x", "y"]) line(axis, linked[axis]);
  };
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    const row = shown.y[0] + Math.floor(((event.clientY - box.top) / box.height) * count("y"));
    const column = shown.x[0] + Math.floor(((event.clientX - box.left) / box.width) * count("x"));
    return [within("y", row), within("x", column)];
  };
  canvas.addEventListener("pointermove", (event) => {
    const [row, column] = placeOf(event);
    if (row !== at[0] || column !== at[1]) show(row, column);
  });
  canvas.addEventListener("pointerleave", () => show(-1, -1));
  canvas.addEventListener("blur", () => show(-1, -1));
  if (choose) {
    onClick(canvas, (event) => {
      const [row] = placeOf(event);
      return () => choose(row);
    });
  }
  canvas.addEventListener("dblclick", widen);
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" && at[0] >= 0) choose?.(at[0]);
    if (event.key === "0" || event.key === "Escape") widen();
    if (!moves[event.key]) return;
    event.preventDefault();
    const [down, right] = moves[event.key];
    const from = at[0] < 0 ? [shown.y[0], shown.x[0]] : [at[0] + down, at[1] + right];
    show(within("y", from[0]), within("x", from[1]));
  });
  view({});
  return { root, canvas, line, view };
}

/** The bar that says which colour is which value. */
export function colourBar(colours, low, high, label) {
  const canvas = el("canvas", { role: "img", "aria-label": `Colours from ${low} to ${high}: ${label}` });
  paint(canvas, [Array.from({ length: 256 }, (_, code) => code)], colours);
  return el("div", { class: "key" }, el("span", {}, low), canvas, el("span", {}, high), el("span", {}, label));
}

/** A canvas enlarged as it is shown, for a picture file, with the labels of its axes where it has some. */
export function enlarged(canvas, marks = { x: [], y: [] }) {
  const scale = devicePixelRatio || 1;
  const gutter = marks.y.length ? widest(marks.y) + 8 : 0;
  const large = document.createElement("canvas");
  large.width = Math.max(1, Math.round((canvas.clientWidth + gutter) * scale));
  large.height = Math.max(1, Math.round((canvas.clientHeight + (marks.x.length ? 18 : 0)) * scale));
  const pen = large.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.scale(scale, scale);
  pen.drawImage(canvas, gutter, 0, canvas.clientWidth, canvas.clientHeight);
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = getComputedStyle(canvas).color;
  pen.textAlign = "right";
  for (const { text, at } of marks.y) pen.fillText(text, gutter - 6, at * canvas.clientHeight + 4);
  pen.textAlign = "center";
  for (const { text, at } of marks.x) pen.fillText(text, gutter + at * canvas.clientWidth, canvas.clientHeight + 14);
  return large;
}

const widest = (marks) => 6.4 * Math.max(...marks.map(({ text }) => text.length));

/** Labels {text, at} of the cells from one place to another, as many as have `room` pixels of `size`; `at` is a share. */
export function marksOf(words, [from, to], size, room) {
  const count = to - from + 1;
  return places(count, size, room).map((place) => ({ text: words[from + place], at: (place + 0.5) / count }));
}

/** Rows and columns of a heatmap labelled: {root, marks(), label({x, y})}, the last for the cells between two places each. */
export function labelled(own, words, height) {
  const rows = el("div", { class: "rows", "aria-hidden": "true" });
  const axis = el("div", { class: "axis" });
  const shown = { x: [0, words.x.length - 1], y: [0, words.y.length - 1] };
  const all = words.y.map((text) => ({ text }));
  rows.style.width = `${widest(all) + 8}px`;
  axis.style.marginLeft = rows.style.width;
  rows.style.height = `${height}px`;
  const room = 9 + 6.5 * Math.max(...words.x.map((text) => text.length));
  const marks = () => ({ x: marksOf(words.x, shown.x, 250, room), y: marksOf(words.y, shown.y, height, 14) });
  const place = (side) => ({ text, at }) => {
    const span = el("span", {}, text);
    span.style[side] = `${100 * at}%`;
    return span;
  };
  const label = (change) => {
    Object.assign(shown, change);
    const { x, y } = marks();
    rows.replaceChildren(...y.map(place("top")));
    axis.replaceChildren(...x.map(place("left")));
  };
  return { root: el("div", {}, el("div", { class: "labelled" }, rows, own.root), axis), marks, label };
}
