// Cells to pixels: the colour of a cell is the mean of its pages', a lone page in a large hole stays visible.

const LEAST_SHARE = 0.35;
const GLYPH_PIXELS = 15;
const NUMBER_PIXELS = 26;

const toLinear = (byte) => (byte / 255) ** 2.2;
const fromLinear = (light) => Math.round(255 * light ** (1 / 2.2));

/** The colours that the legend's swatches have now, as linear light. */
export class Palette {
  constructor(legend) {
    const of = (name) => {
      const [red, green, blue] = getComputedStyle(legend.querySelector(`.swatch.${name}`)).backgroundColor.match(/[\d.]+/g).map(Number);
      return [red, green, blue].map(toLinear);
    };
    for (const name of ["hole", "zero", "same", "well", "middling", "badly", "raw"]) this[name] = of(name);
    const style = getComputedStyle(legend);
    this.ink = style.color;
    this.muted = style.getPropertyValue("outline-color") || style.color;
    this.font = style.fontFamily;
  }

  /** `share` is the stored part of a page, 0 … 1. */
  compressed(share) {
    const [low, high, place] = share < 0.5 ? [this.well, this.middling, share * 2] : [this.middling, this.badly, share * 2 - 1];
    return low.map((value, channel) => value + (high[channel] - value) * place);
  }

  cell(cells, index, pageSize) {
    const { zero, same, compressed, raw } = { zero: cells.zero[index], same: cells.same[index], compressed: cells.compressed[index], raw: cells.raw[index] };
    const held = zero + same + compressed + raw;
    if (!held) return this.hole;
    const ramp = this.compressed(storedShare(cells, index, pageSize));
    const visible = held >= cells.size ? 1 : LEAST_SHARE + (1 - LEAST_SHARE) * (held / cells.size);
    return this.hole.map((ground, channel) => {
      const mean = (zero * this.zero[channel] + same * this.same[channel] + compressed * ramp[channel] + raw * this.raw[channel]) / held;
      return ground + (mean - ground) * visible;
    });
  }
}

/** The part of its size that a compressed page takes in the mean, 0 … 1; raw pages are taken at their full size. */
export function meanShare(compressed, raw, bytes, pageSize) {
  return compressed ? Math.min(1, Math.max(0, bytes - raw * pageSize) / (compressed * pageSize)) : 0;
}

const storedShare = (cells, index, pageSize) => meanShare(cells.compressed[index], cells.raw[index], cells.bytes[index], pageSize);

const css = (light) => `rgb(${light.map(fromLinear).join(" ")})`;
const isBright = ([red, green, blue]) => 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.25;

/** Give a canvas as many pixels as it covers on the screen. */
export function fitCanvas(canvas, height) {
  const scale = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const rows = Math.round(height * scale);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== rows) canvas.height = rows;
  return scale;
}

/**
 * Draw cells row by row.
 *
 * `grid` has columns, rows, gutter (CSS pixels left of the cells, for the rows' first pages), end (first page behind
 * the type), cursor (a cell's index or -1); `label` turns a page into the text for the gutter.
 */
export function drawCells(canvas, cells, grid, palette, pageSize, label) {
  const scale = devicePixelRatio || 1;
  const context = canvas.getContext("2d", { alpha: true });
  context.clearRect(0, 0, canvas.width, canvas.height);
  const left = Math.round(grid.gutter * scale);
  const edgeX = (column) => left + Math.round(((canvas.width - left) * column) / grid.columns);
  const edgeY = (row) => Math.round((canvas.height * row) / grid.rows);
  const side = (canvas.width - left) / grid.columns;
  const gap = side >= 10 * scale ? Math.round(scale) : 0;
  for (let index = 0; index < cells.length; index++) {
    const page = cells.from + index * cells.size;
    if (page >= grid.end) break;
    const column = index % grid.columns;
    const row = Math.floor(index / grid.columns);
    const [x, y] = [edgeX(column), edgeY(row)];
    const [width, height] = [edgeX(column + 1) - x - gap, edgeY(row + 1) - y - gap];
    const light = palette.cell(cells, index, pageSize);
    context.fillStyle = css(light);
    context.fillRect(x, y, width, height);
    if (cells.size === 1 && side >= GLYPH_PIXELS * scale) drawGlyph(context, cells, index, { x, y, width, height, light, scale, side, pageSize });
  }
  drawGutter(context, cells, grid, palette, { scale, left, edgeY, label });
  if (grid.cursor >= 0 && grid.cursor < cells.length) {
    const [x, y] = [edgeX(grid.cursor % grid.columns), edgeY(Math.floor(grid.cursor / grid.columns))];
    context.strokeStyle = palette.ink;
    context.lineWidth = 2 * scale;
    context.strokeRect(x, y, Math.max(edgeX((grid.cursor % grid.columns) + 1) - x - gap, 4 * scale), Math.max(edgeY(Math.floor(grid.cursor / grid.columns) + 1) - y - gap, 4 * scale));
  }
}

function drawGlyph(context, cells, index, { x, y, width, height, light, scale, side, pageSize }) {
  let text = "";
  if (cells.zero[index]) text = "0";
  else if (cells.same[index]) text = "=";
  else if (cells.raw[index]) text = "#";
  else if (cells.compressed[index] && side >= NUMBER_PIXELS * scale) text = `${Math.round(100 * storedShare(cells, index, pageSize))}%`;
  if (!text) return;
  context.fillStyle = isBright(light) ? "#101818" : "#ffffff";
  context.font = `${Math.round(11 * scale)}px ${getComputedStyle(context.canvas).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x + width / 2, y + height / 2 + scale / 2);
}

function drawGutter(context, cells, grid, palette, { scale, left, edgeY, label }) {
  if (!left) return;
  const every = Math.max(1, Math.ceil((16 * scale) / (edgeY(1) - edgeY(0))));
  context.font = `${Math.round(11 * scale)}px ${getComputedStyle(context.canvas).fontFamily}`;
  context.fillStyle = palette.muted;
  context.textAlign = "right";
  context.textBaseline = "top";
  for (let row = 0; row < grid.rows; row += every) {
    const page = cells.from + row * grid.columns * cells.size;
    if (page >= grid.end) break;
    context.fillText(label(page), left - 8 * scale, edgeY(row) + scale);
  }
}
