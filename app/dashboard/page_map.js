// The page map of one type: loads what is in sight, draws it, and tells what lies under the cursor.

import * as format from "./format.js";
import { CellLoader, Cells } from "./map_cells.js";
import { steer } from "./map_input.js";
import { drawCells, fitCanvas, Palette } from "./map_picture.js";
import { cellOf, fillTable, sentence, showCell } from "./map_readout.js";
import { gridFor, View } from "./map_view.js";
import { byId, setText } from "./page.js";

const REFRESH_MS = 2000;
const LONGEST_MS = 30_000;
/** A refresh may take up to this share of the time. */
const EFFORT = 0.05;
const STRIP_BINS = 256;

export class PageMap {
  #loader;
  #root = byId("map");
  #canvas = byId("map-canvas");
  #strip = byId("map-strip");
  #view;
  #palette;
  #pageSize = 4096;
  #type = null;
  #numbers = "";
  #storedPages = 0;
  #isMeasured = false;
  #loadedNumbers = "";
  #cells = new Cells(0, 1, 0);
  #whole = null;
  /** The page that the cursor is on; -1: there is none. */
  #page = -1;
  #hover = -1;
  #abort = new AbortController();
  #width = 0;
  #isLoading = false;
  #nextLoadAt = 0;
  #staleAt = 0;

  constructor(service) {
    this.#loader = new CellLoader(service);
    this.#view = new View(gridFor(this.#canvas.clientWidth));
    this.readColours();
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
    steer(this, this.#canvas, this.#strip);
    byId("map-details").addEventListener("toggle", () => this.#fillTable());
  }

  get view() {
    return this.#view;
  }

  get page() {
    return this.#page;
  }

  get #cursor() {
    return this.#page >= this.#view.from && this.#page < this.#view.from + this.#view.pages ? Math.floor((this.#page - this.#view.from) / this.#view.size) : -1;
  }

  /** Show a type, or learn its numbers anew: the map is loaded again when they differ. */
  show(numbers, pageSize) {
    this.#pageSize = pageSize;
    const { type, configuration, ...counts } = numbers;
    this.#numbers = JSON.stringify(counts);
    this.#storedPages = counts.stored_pages;
    if (type === this.#type) return;
    this.#type = type;
    this.#whole = null;
    this.#page = this.#hover = -1;
    this.#cells = new Cells(0, 1, 0);
    this.#view.end = 0;
    setText(byId("map-type"), `type ${type}`);
    this.#root.dataset.state = "loading";
    this.#restart();
    this.#isMeasured = false;
    this.#findEnd(true);
  }

  /** Called once a second: loads again what changed, as seldom as it is dear. */
  tick() {
    this.#resize();
    const now = performance.now();
    if (this.#type === null || this.#isLoading || now < this.#nextLoadAt) return;
    if (this.#numbers === this.#loadedNumbers && now < this.#staleAt) return;
    this.#findEnd(this.#view.isWhole);
  }

  readColours() {
    this.#palette = new Palette(byId("legend"));
    this.draw();
  }

  /** Load what the view shows now, after it was moved. */
  moved() {
    this.#restart();
    if (this.#isMeasured) this.#load();
    else this.#findEnd(true);
  }

  /** The cell at a point of the canvas (CSS pixels); -1 outside. */
  cellAt(x, y) {
    const { gutter } = this.#view.grid;
    const column = Math.floor(((x - gutter) / (this.#canvas.clientWidth - gutter)) * this.#view.columns);
    const row = Math.floor((y / this.#canvas.clientHeight) * this.#view.rows);
    if (column < 0 || column >= this.#view.columns || row < 0 || row >= this.#view.rows) return -1;
    return this.#inside(row * this.#view.columns + column);
  }

  pageOf(cell) {
    return this.#view.from + cell * this.#view.size;
  }

  setHover(cell) {
    if (this.#hover === cell) return;
    this.#hover = cell;
    this.#read();
  }

  /** Move the cursor to a page, and the view if need be; `isSpoken` for those who cannot see where it went. */
  setCursor(page, isSpoken) {
    if (!this.#view.end) return;
    const before = this.#view.from;
    const target = Math.max(0, Math.min(page, this.#view.end - 1));
    this.#view.reveal(target);
    this.#page = target;
    if (this.#view.from !== before) this.moved();
    this.draw();
    if (isSpoken) setText(byId("map-said"), sentence(this.#cell()));
  }

  zoom(steps, page) {
    if (!this.#view.end) return;
    this.#hover = -1;
    this.#view.zoom(steps, page);
    this.moved();
  }

  pan(rows) {
    const before = this.#view.from;
    this.#hover = -1;
    this.#view.pan(rows);
    if (this.#view.from !== before) this.moved();
  }

  fit() {
    this.#hover = -1;
    this.#view.fit();
    this.moved();
  }

  #inside(cell) {
    return this.pageOf(cell) < this.#view.end ? cell : -1;
  }

  #resize() {
    const width = this.#canvas.clientWidth;
    if (width === this.#width) return;
    this.#width = width;
    const grid = gridFor(width);
    if (grid.columns !== this.#view.grid.columns) {
      const page = this.#view.from;
      const wasWhole = this.#view.isWhole;
      this.#view.grid = grid;
      this.#hover = -1;
      if (wasWhole) this.#view.fit();
      else this.#view.moveTo(page);
      if (this.#type !== null) this.moved();
    }
    this.draw();
  }

  #restart() {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#isLoading = false;
  }

  /** Learn where the type ends, then load; `isFitted`: and show it whole. */
  async #findEnd(isFitted) {
    const { signal } = this.#abort;
    this.#isLoading = true;
    const started = performance.now();
    try {
      const end = this.#storedPages ? await this.#loader.findEnd(this.#type, this.#storedPages, signal) : 0;
      if (signal.aborted) return;
      const isOther = end !== this.#view.end || !this.#isMeasured;
      this.#view.end = end;
      this.#isMeasured = true;
      if (isFitted && isOther) this.#view.fit();
      await this.#load(started);
    } catch {
      this.#later(signal, started);
    }
  }

  /** Load all cells in sight. The service has said what is wrong to the poll loop if this fails; it is tried again. */
  async #load(started = performance.now()) {
    const { signal } = this.#abort;
    this.#isLoading = true;
    const { from, size, cellCount, end } = this.#view;
    const numbers = this.#numbers;
    const cells = new Cells(from, size, cellCount);
    if (this.#whole) cells.borrow(this.#whole);
    cells.borrow(this.#cells);
    this.#cells = cells;
    this.#root.dataset.state = "loading";
    this.draw();
    try {
      await this.#loader.load(this.#type, cells, end, signal, () => this.draw());
      this.#loadedNumbers = numbers;
      this.#root.dataset.state = end ? "ready" : "empty";
      if (this.#view.isWhole) this.#whole = cells;
      this.draw();
      this.#fillTable();
    } catch {
      // Aborted by a newer view, or refused; the next tick tries again.
    }
    this.#later(signal, started);
  }

  #later(signal, started) {
    if (signal.aborted) return;
    const now = performance.now();
    this.#isLoading = false;
    this.#nextLoadAt = now + Math.min(LONGEST_MS, Math.max(REFRESH_MS, (now - started) / EFFORT));
    this.#staleAt = now + LONGEST_MS;
  }

  draw() {
    const { view } = this;
    const width = this.#canvas.clientWidth;
    if (!width) return;
    const { grid } = view;
    fitCanvas(this.#canvas, this.#canvas.clientHeight);
    const shown = { columns: view.columns, rows: view.rows, gutter: grid.gutter, end: view.end, cursor: this.#cursor };
    drawCells(this.#canvas, this.#cells, shown, this.#palette, this.#pageSize, format.count);
    this.#drawStrip();
    this.#tell();
    this.#read();
  }

  #drawStrip() {
    const scale = fitCanvas(this.#strip, this.#strip.clientHeight);
    const cells = this.#whole;
    const context = this.#strip.getContext("2d");
    context.clearRect(0, 0, this.#strip.width, this.#strip.height);
    if (!cells || !this.#view.end) return;
    const used = Math.ceil(this.#view.end / cells.size);
    const perBin = Math.max(1, Math.ceil(used / STRIP_BINS));
    const bins = new Cells(0, cells.size * perBin, Math.ceil(used / perBin));
    for (let bin = 0; bin < bins.length; bin++) bins.put(cells.sum(bin * perBin, Math.min((bin + 1) * perBin, cells.length)));
    drawCells(this.#strip, bins, { columns: bins.length, rows: 1, gutter: 0, end: this.#view.end, cursor: -1 }, this.#palette, this.#pageSize, String);
    const x = (page) => (this.#strip.width * page) / (bins.length * bins.size);
    context.strokeStyle = this.#palette.ink;
    context.lineWidth = 2 * scale;
    const left = x(this.#view.from);
    const right = x(Math.min(this.#view.from + this.#view.pages, this.#view.end));
    context.strokeRect(left + scale, scale, Math.max(right - left - 2 * scale, 2 * scale), this.#strip.height - 2 * scale);
  }

  #tell() {
    const { view } = this;
    const data = this.#root.dataset;
    [data.from, data.size, data.columns, data.rows, data.end, data.gutter] = [view.from, view.size, view.columns, view.rows, view.end, view.grid.gutter].map(String);
    const last = Math.min(view.from + view.pages, view.end) - 1;
    const each = view.size === 1 ? "a cell is one page" : `a cell is ${format.count(view.size)} pages`;
    setText(byId("map-range"), view.end ? `pages ${format.count(view.from)} – ${format.count(last)} of ${format.count(view.end)}; ${each}` : "no pages");
    byId("map-in").disabled = !view.end || view.columns === view.grid.columns >> 3;
    byId("map-out").disabled = byId("map-fit").disabled = !view.end || view.isWhole;
    byId("map-back").disabled = view.from === 0;
    byId("map-forward").disabled = view.from + view.pages >= view.end;
  }

  #cell() {
    const index = this.#hover >= 0 ? this.#hover : this.#cursor;
    return index < 0 || index >= this.#cells.length || !this.#view.end ? null : cellOf(this.#cells, index, index + 1, this.#view.end);
  }

  #read() {
    showCell(this.#cell(), this.#pageSize);
  }

  #fillTable() {
    if (byId("map-details").open) fillTable(this.#cells, this.#view.end);
  }
}
