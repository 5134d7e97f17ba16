// Which part of a type the map shows: a level of zoom and a first page. Pure.

export const MAX_CELLS = 4096;
const DEEPEST = -3;

/** Columns and rows at level 0, by the width at hand (CSS pixels): never more than MAX_CELLS cells. */
export function gridFor(width) {
  if (width >= 860) return { columns: 128, rows: 32, gutter: 86 };
  if (width >= 520) return { columns: 64, rows: 32, gutter: 78 };
  return { columns: 32, rows: 32, gutter: 0 };
}

/**
 * At level n ≥ 0 a cell is 2^n pages; below 0 it is one page, and there are fewer and larger cells. A row starts at a
 * multiple of its length, as in a hex dump.
 */
export class View {
  level = 0;
  from = 0;
  end = 0;

  constructor(grid) {
    this.grid = grid;
  }

  get columns() {
    return this.grid.columns >> Math.max(0, -this.level);
  }

  get rows() {
    return this.grid.rows >> Math.max(0, -this.level);
  }

  get size() {
    return 2 ** Math.max(0, this.level);
  }

  get rowPages() {
    return this.columns * this.size;
  }

  get cellCount() {
    return this.columns * this.rows;
  }

  get pages() {
    return this.cellCount * this.size;
  }

  get fitLevel() {
    const fitting = new View(this.grid);
    fitting.level = DEEPEST;
    while (fitting.pages < this.end) fitting.level++;
    return fitting.level;
  }

  get isWhole() {
    return this.level >= this.fitLevel;
  }

  fit() {
    this.level = this.fitLevel;
    this.from = 0;
  }

  /** Change the level by `steps`, and keep the row of `page` where it is. */
  zoom(steps, page) {
    const row = Math.floor((page - this.from) / this.rowPages) / this.rows;
    this.level = Math.min(this.fitLevel, Math.max(DEEPEST, this.level + steps));
    this.moveTo(page - Math.floor(row * this.rows) * this.rowPages);
  }

  pan(rows) {
    this.moveTo(this.from + rows * this.rowPages);
  }

  /** Show `page` in the middle, unless it is in sight. */
  reveal(page) {
    if (page < this.from || page >= this.from + this.pages) this.moveTo(page - Math.floor(this.rows / 2) * this.rowPages);
  }

  moveTo(page) {
    const rows = Math.ceil(this.end / this.rowPages);
    const row = Math.min(Math.floor(page / this.rowPages), rows - this.rows);
    this.from = Math.max(0, row) * this.rowPages;
  }
}
