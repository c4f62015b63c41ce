// A chart as a PNG file: its canvas on the page's paper, under its title and above the names of its arms.
import { DASHES } from "./colour.mjs";
import { inks } from "./theme.mjs";

const MARGIN = 16;
const LINE = 20;

/** One canvas of a titled chart; `arms` are [{name, colour, dash}]. */
export function composed(canvases, title, arms) {
  const scale = devicePixelRatio || 1;
  const width = Math.max(...canvases.map((canvas) => canvas.width)) + 2 * MARGIN * scale;
  const rows = legendRows(arms, width / scale);
  const height = canvases.reduce((sum, canvas) => sum + canvas.height, 0) + (2 * MARGIN + LINE * (1 + rows.length)) * scale;
  const whole = document.createElement("canvas");
  whole.width = width;
  whole.height = height;
  const pen = whole.getContext("2d");
  const ink = inks();
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, width, height);
  pen.scale(scale, scale);
  pen.fillStyle = ink.ink;
  pen.font = "600 13px system-ui, sans-serif";
  pen.fillText(title.slice(0, 120), MARGIN, MARGIN + 10, width / scale - 2 * MARGIN);
  let top = MARGIN + LINE;
  for (const canvas of canvases) {
    pen.drawImage(canvas, MARGIN, top, canvas.width / scale, canvas.height / scale);
    top += canvas.height / scale;
  }
  drawLegend(pen, rows, top, ink);
  return whole;
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
      pen.strokeStyle = ink.arms[arm.colour];
      pen.lineWidth = 2.5;
      pen.setLineDash(DASHES[arm.dash]);
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
