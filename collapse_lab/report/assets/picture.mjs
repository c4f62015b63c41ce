// A chart as a PNG file: its canvas on the page's paper, with all that is said around it.
import { DASHES } from "./colour.mjs";
import { inks } from "./theme.mjs";

const MARGIN = 16;
const LINE = 20;

/** One canvas of a chart under its title, unit and `context`, above the title of its x axis and its key: `arms` are
 * [{name, colour, dash}], `lines` those that arms are held against, [{label, dash}], `scale` {colours, low, high}. */
export function composed(canvases, { title, unit = "", context = "", xTitle = "", arms = [], lines = [], scale = null }) {
  const dots = devicePixelRatio || 1;
  const width = Math.max(...canvases.map((canvas) => canvas.width)) + 2 * MARGIN * dots;
  const held = lines.map(({ label, dash }) => ({ name: label, dashes: dash }));
  const rows = legendRows([...arms, ...held], width / dots);
  const under = [unit, context].filter(Boolean);
  const lineCount = 1 + under.length + (xTitle ? 1 : 0) + (scale ? 1 : 0) + rows.length;
  const whole = document.createElement("canvas");
  whole.width = width;
  whole.height = canvases.reduce((sum, canvas) => sum + canvas.height, 0) + (2 * MARGIN + LINE * lineCount) * dots;
  const pen = whole.getContext("2d");
  const ink = inks();
  const across = width / dots - 2 * MARGIN;
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, whole.width, whole.height);
  pen.scale(dots, dots);
  pen.fillStyle = ink.ink;
  pen.font = "600 13px system-ui, sans-serif";
  pen.fillText(title.slice(0, 120), MARGIN, MARGIN + 10, across);
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = ink.soft;
  under.forEach((text, place) => pen.fillText(text.slice(0, 160), MARGIN, MARGIN + 10 + LINE * (place + 1), across));
  let top = MARGIN + LINE * (1 + under.length);
  for (const canvas of canvases) {
    pen.drawImage(canvas, MARGIN, top, canvas.width / dots, canvas.height / dots);
    top += canvas.height / dots;
  }
  if (xTitle) {
    pen.textAlign = "center";
    pen.fillText(xTitle, MARGIN + across / 2, top + 13, across);
    pen.textAlign = "left";
    top += LINE;
  }
  if (scale) {
    drawScale(pen, scale, top);
    top += LINE;
  }
  drawLegend(pen, rows, top, ink);
  return whole;
}

function drawScale(pen, { colours, low, high }, top) {
  const left = MARGIN + 6 + pen.measureText(low).width;
  pen.fillText(low, MARGIN, top + 14);
  colours.forEach(([red, green, blue], code) => {
    pen.fillStyle = `rgb(${red}, ${green}, ${blue})`;
    pen.fillRect(left + code / 2, top + 5, 1, 10);
  });
  pen.fillStyle = inks().soft;
  pen.fillText(high, left + colours.length / 2 + 6, top + 14);
}

function legendRows(arms, width) {
  const rows = [];
  let left = width;
  for (const arm of arms) {
    const text = arm.name.slice(0, 40);
    const wide = 46 + 7 * text.length;
    if (left + wide > width - MARGIN) {
      rows.push([]);
      left = MARGIN;
    }
    rows[rows.length - 1].push({ ...arm, text, left });
    left += wide;
  }
  return rows;
}

function drawLegend(pen, rows, top, ink) {
  pen.font = "12px system-ui, sans-serif";
  rows.forEach((row, place) => {
    const middle = top + LINE * (place + 0.5);
    for (const arm of row) {
      pen.strokeStyle = arm.dashes ? ink.soft : ink.arms[arm.colour];
      pen.lineWidth = arm.dashes ? 1.25 : 2.5;
      pen.setLineDash(arm.dashes ?? DASHES[arm.dash]);
      pen.beginPath();
      pen.moveTo(arm.left, middle);
      pen.lineTo(arm.left + 28, middle);
      pen.stroke();
      pen.fillStyle = ink.ink;
      pen.fillText(arm.text, arm.left + 34, middle + 4);
    }
  });
}

/** Hand the reader a canvas as a file. */
export function save(canvas, title) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${title.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 60) || "chart"}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  });
}
