// Where a type ends, and its cells, in requests that stay small for a type of any size.

const MAX_CELLS = 4096;
const FIRST_PAGES = 2 ** 17;
const FEW_MS = 80;
const MANY_MS = 250;
const KINDS = ["zero", "same", "compressed", "raw", "bytes"];

/** Cells of `size` pages each from page `from`: counts by kind and bytes, as columns; `isKnown` tells which came. */
export class Cells {
  constructor(from, size, length) {
    this.from = from;
    this.size = size;
    this.length = length;
    for (const kind of KINDS) this[kind] = new Float64Array(length);
    this.isKnown = new Uint8Array(length);
  }

  get end() {
    return this.from + this.size * this.length;
  }

  put(cell) {
    const index = Math.round((cell.offset - this.from) / this.size);
    for (const kind of KINDS) this[kind][index] = cell[kind];
    this.isKnown[index] = 1;
  }

  /** The cell that holds a page; -1 if none does. */
  indexOf(page) {
    return page >= this.from && page < this.end ? Math.floor((page - this.from) / this.size) : -1;
  }

  /** The cells first … last - 1 as one. */
  sum(first, last) {
    const total = { offset: this.from + first * this.size, count: (last - first) * this.size };
    for (const kind of KINDS) {
      total[kind] = 0;
      for (let index = first; index < last; index++) total[kind] += this[kind][index];
    }
    return total;
  }

  /** Fill what another view of the same type knows, so that a zoom shows something at once; those cells stay unknown. */
  borrow(other) {
    for (let index = 0; index < this.length; index++) {
      const page = this.from + index * this.size;
      const first = other.indexOf(page);
      if (first < 0) continue;
      const last = Math.min(first + Math.max(1, Math.round(this.size / other.size)), other.length);
      const share = Math.min(1, this.size / other.size);
      const sum = other.sum(first, last);
      for (const kind of KINDS) this[kind][index] = sum[kind] * share;
      if (this.size === other.size) this.isKnown[index] = other.isKnown[first];
    }
  }
}

export class CellLoader {
  #service;
  /** Pages that one request asks for: so many that the service is never busy with it for long. */
  #pages = FIRST_PAGES;

  constructor(service) {
    this.#service = service;
  }

  /** Fill `cells` up to page `end`, request by request; `onPart` is called after each. */
  async load(type, cells, end, signal, onPart) {
    let page = cells.from;
    const last = Math.min(end, cells.end);
    while (page < last) {
      const left = Math.ceil((last - page) / cells.size);
      const number = Math.max(1, Math.min(left, MAX_CELLS, Math.floor(this.#pages / cells.size)));
      const started = performance.now();
      const query = `from=${page}&count=${number * cells.size}&cells=${number}`;
      const answer = await this.#service.get(`v1/types/${type}/map?${query}`, signal);
      const elapsed = performance.now() - started;
      if (elapsed < FEW_MS) this.#pages = Math.min(this.#pages * 2, 2 ** 50);
      else if (elapsed > MANY_MS) this.#pages = Math.max(this.#pages / 2, FIRST_PAGES / 8);
      answer.cells.forEach((cell) => cells.put(cell));
      page += number * cells.size;
      onPart();
    }
  }

  /**
   * The first page behind all that a type holds.
   *
   * Allocation maps tell it: a question for what lies at or behind a page has an answer of bounded cost. So gallop
   * from `atLeast` (the number of pages held) until nothing is behind, and halve the rest.
   */
  async findEnd(type, atLeast, signal) {
    let held = 0;
    let empty = null;
    let from = Math.max(0, atLeast - 1);
    for (;;) {
      const answer = await this.#service.get(`v1/types/${type}/extents?from=${from}`, signal);
      const run = answer.extents.findLast((each) => each.state !== "hole");
      const isAll = answer.until >= answer.from + answer.count;
      if (run) held = Math.max(held, run.offset + run.count);
      if (isAll && run) return held;
      if (isAll) empty = from;
      if (empty !== null && empty <= held) return held;
      from = empty === null ? Math.max(answer.until, 2 * held) : Math.floor((held + empty) / 2);
    }
  }
}
