// Small line charts over the last minutes, in SVG. Each shows its newest figure, or that under the pointer.

import * as format from "./format.js";
import { WINDOW_SECONDS } from "./history.js";
import { byId, fillRows, make, setText } from "./page.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 56;
const TABLE_STEP_SECONDS = 15;
const LOWEST_SECONDS = 0.00005;
const HIGHEST_SECONDS = 5;

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** The smallest of 1, 2, 5 × 10^n that is not below `value`; at least 10. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 5, 10].map((step) => step * power).find((limit) => limit >= value);
}

const logarithmic = (value) =>
  Math.log(Math.max(value, LOWEST_SECONDS) / LOWEST_SECONDS) / Math.log(HIGHEST_SECONDS / LOWEST_SECONDS);

/**
 * What each chart shows. `series` are keys of History's points, the first drawn as an area; `headline` and `under` give
 * texts from the figures of the last minute, or of the point under the pointer.
 */
const CHARTS = [
  { title: "Stores", unit: "pages/s", series: ["stores"], format: format.rate, headline: (p) => format.rate(p.stores), under: () => "" },
  {
    title: "Loads", unit: "pages/s", series: ["hits", "misses"], format: format.rate,
    headline: (p) => format.rate(p.loads), under: (p) => `${format.rate(p.misses)} missed`,
  },
  { title: "Hit rate", unit: "", series: ["hitRate"], top: 100, format: (v) => `${v} %`, headline: (p) => format.percent(p.hitRate), under: () => "" },
  { title: "Rejects", unit: "pages/s", series: ["rejects"], tone: "alarm", format: format.rate, headline: (p) => format.rate(p.rejects), under: () => "" },
  {
    title: "Load latency", unit: "p50", series: ["loadP50", "loadP99"], isLatency: true,
    headline: (p) => format.seconds(p.loadP50), under: (p) => `p99 ${format.seconds(p.loadP99)}`,
  },
  {
    title: "Store latency", unit: "p50", series: ["storeP50", "storeP99"], isLatency: true,
    headline: (p) => format.seconds(p.storeP50), under: (p) => `p99 ${format.seconds(p.storeP99)}`,
  },
];

const EMPTY = Object.fromEntries(["stores", "hits", "misses", "loads", "hitRate", "rejects", "loadP50", "loadP99", "storeP50", "storeP99"].map((key) => [key, null]));

class Chart {
  #spec;
  #history;
  #figure = make("span", { class: "figure" });
  #under = make("span", { class: "under" });
  #when = make("span", { class: "when" });
  #scale = make("span", { class: "scale" });
  #paths;
  #cross = shape("line", { class: "cross", y1: 0, y2: HEIGHT, visibility: "hidden" });
  #pointed = null;

  constructor(spec, history, parent) {
    this.#spec = spec;
    this.#history = history;
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    if (spec.isLatency) {
      for (const bound of [0.001, 0.1]) {
        const y = this.#y(bound, 1);
        svg.append(shape("line", { class: "rule", x1: 0, x2: WIDTH, y1: y, y2: y }));
      }
    }
    this.#paths = spec.series.map((key, index) => {
      const path = shape("path", { class: `line line-${index} ${spec.tone ?? ""}` });
      const area = index === 0 && !spec.isLatency ? shape("path", { class: `area ${spec.tone ?? ""}` }) : null;
      svg.append(...(area ? [area, path] : [path]));
      return { key, path, area };
    });
    svg.append(this.#cross);
    const plot = make("div", { class: "plot" }, svg, this.#scale, this.#when);
    const head = make("p", { class: "chart-head" }, this.#figure, make("span", { class: "unit" }, spec.unit), this.#under);
    parent.append(make("div", { class: "chart" }, make("h3", {}, spec.title), head, plot));
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      this.#pointed = (event.clientX - box.left) / box.width;
      this.draw();
    });
    plot.addEventListener("pointerleave", () => {
      this.#pointed = null;
      this.draw();
    });
    this.draw();
  }

  #y(value, top) {
    const share = this.#spec.isLatency ? logarithmic(value) : value / top;
    return (HEIGHT - 2) * (1 - Math.min(share, 1)) + 1;
  }

  draw() {
    const { points } = this.#history;
    const now = points.at(-1)?.at ?? 0;
    const x = (point) => WIDTH * (1 - (now - point.at) / WINDOW_SECONDS);
    const highest = Math.max(0, ...points.flatMap((point) => this.#spec.series.map((key) => point[key] ?? 0)));
    const top = this.#spec.top ?? roundUp(highest);
    for (const { key, path, area } of this.#paths) {
      const runs = runsOf(points, key).map((run) => run.map((point) => `${x(point).toFixed(1)},${this.#y(point[key], top).toFixed(1)}`));
      path.setAttribute("d", runs.map((run) => `M${run.join("L")}`).join(""));
      area?.setAttribute("d", runs.map((run) => `M${run[0].split(",")[0]},${HEIGHT}L${run.join("L")}L${run.at(-1).split(",")[0]},${HEIGHT}Z`).join(""));
    }
    const scale = this.#spec.isLatency ? "rules at 1 and 100 ms" : this.#spec.format(top);
    setText(this.#scale, points.length ? scale : "");
    this.#drawHead(points, now, x);
  }

  #drawHead(points, now, x) {
    let shown = this.#history.lastMinute() ?? EMPTY;
    let at = null;
    let when = "";
    if (this.#pointed !== null && points.length) {
      const wanted = now - WINDOW_SECONDS * (1 - this.#pointed);
      shown = points.reduce((best, point) => (Math.abs(point.at - wanted) < Math.abs(best.at - wanted) ? point : best));
      at = x(shown);
      when = `${Math.round(now - shown.at)} s ago`;
    }
    this.#cross.setAttribute("visibility", at === null ? "hidden" : "visible");
    for (const end of ["x1", "x2"]) this.#cross.setAttribute(end, at ?? 0);
    setText(this.#when, when);
    setText(this.#figure, this.#spec.headline(shown));
    setText(this.#under, this.#spec.under(shown));
  }
}

/** Runs of neighbouring points that have the figure; a line is not drawn across a gap. */
function runsOf(points, key) {
  const runs = [];
  let run = null;
  for (const point of points) {
    if (point[key] === null) {
      run = null;
      continue;
    }
    if (!run || point.afterGap) runs.push((run = []));
    run.push(point);
  }
  return runs;
}

export class Charts {
  #history;
  #charts;

  constructor(history) {
    this.#history = history;
    this.#charts = CHARTS.map((spec) => new Chart(spec, history, byId("charts")));
    byId("activity-details").addEventListener("toggle", () => this.#fillTable());
  }

  draw() {
    for (const chart of this.#charts) chart.draw();
    this.#fillTable();
  }

  #fillTable() {
    if (!byId("activity-details").open) return;
    const { points } = this.#history;
    const now = points.at(-1)?.at;
    const rows = [];
    for (let age = 0; age < WINDOW_SECONDS; age += TABLE_STEP_SECONDS) {
      const point = points.find((each) => each.at >= now - age - 0.5);
      if (!point || now - age - point.at > 0.5 || points[0].at > now - age + 0.5) break;
      rows.push([
        String(age), format.rate(point.stores), format.rate(point.loads), format.percent(point.hitRate), format.rate(point.rejects),
        ...["loadP50", "loadP99", "storeP50", "storeP99"].map((key) => format.seconds(point[key])),
      ]);
    }
    fillRows(byId("activity-rows"), rows);
  }
}
