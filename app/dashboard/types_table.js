// One row for each type, a page of them at a time; choosing one shows its map.

import * as format from "./format.js";
import { byId, make, setText } from "./page.js";

const ROWS = 12;
const MIB = 1024 * 1024;

export class TypesTable {
  #service;
  #onChoose;
  #after = null;
  #next = null;
  /** The `after` of each page of the list before this one. */
  #trail = [];
  #rows = [];
  #chosen = null;

  /** `onChoose` is called with a type's numbers when it is chosen, and again whenever they come anew. */
  constructor(service, onChoose) {
    this.#service = service;
    this.#onChoose = onChoose;
    byId("types-next").addEventListener("click", () => this.#turn(true));
    byId("types-previous").addEventListener("click", () => this.#turn(false));
  }

  async refresh() {
    const after = this.#after === null ? "" : `&after=${this.#after}`;
    const { types, next } = await this.#service.get(`v1/types?limit=${ROWS}${after}`);
    this.#next = next;
    this.#show(types);
    byId("types-empty").hidden = types.length > 0 || this.#trail.length > 0;
    byId("types-pager").hidden = next === null && this.#trail.length === 0;
    byId("types-next").disabled = next === null;
    byId("types-previous").disabled = this.#trail.length === 0;
    const chosen = types.find((each) => each.type === this.#chosen);
    if (chosen) this.#onChoose(chosen);
    else if (this.#chosen === null && types.length) this.#choose(types[0]);
  }

  #turn(isForward) {
    if (isForward) {
      this.#trail.push(this.#after);
      this.#after = this.#next;
    } else this.#after = this.#trail.pop() ?? null;
    this.refresh().catch(() => {}); // The next round of polling tells what is wrong.
  }

  #choose(numbers) {
    this.#chosen = numbers.type;
    this.#mark();
    this.#onChoose(numbers);
  }

  #mark() {
    for (const row of this.#rows) {
      const isChosen = row.numbers?.type === this.#chosen;
      row.element.classList.toggle("chosen", isChosen);
      row.button.setAttribute("aria-pressed", String(isChosen));
    }
  }

  #show(types) {
    while (this.#rows.length > types.length) this.#rows.pop().element.remove();
    types.forEach((numbers, index) => {
      const row = (this.#rows[index] ??= this.#newRow());
      row.numbers = numbers;
      setText(row.button, String(numbers.type));
      row.button.setAttribute("aria-label", `Type ${numbers.type}: show its map`);
      const image = numbers.configuration.image_bytes;
      const texts = [
        format.count(numbers.stored_pages),
        format.count(numbers.zero_pages),
        format.count(numbers.same_filled_pages),
        format.count(numbers.compressed_pages),
        format.count(numbers.incompressible_pages),
        format.mibOfBytes(numbers.pool_bytes),
        format.ratio(numbers.compression_ratio),
        image === null ? "–" : format.mib(image / MIB),
      ];
      texts.forEach((text, column) => setText(row.cells[column], text));
      const counts = [numbers.zero_pages, numbers.same_filled_pages, numbers.compressed_pages, numbers.incompressible_pages];
      counts.forEach((count, kind) => (row.parts[kind].style.width = `${(100 * count) / (numbers.stored_pages || 1)}%`));
    });
    this.#mark();
  }

  #newRow() {
    const button = make("button", { type: "button", class: "plain", "aria-pressed": "false" });
    const cells = Array.from({ length: 8 }, () => make("td"));
    const parts = ["zero", "same", "compressed", "raw"].map((kind) => make("i", { class: kind }));
    const bar = make("td", {}, make("div", { class: "kinds-bar small", "aria-hidden": "true" }, ...parts));
    const element = make("tr", {}, make("th", { scope: "row" }, button), ...cells, bar);
    const row = { element, button, cells, parts, numbers: null };
    button.addEventListener("click", () => this.#choose(row.numbers));
    byId("types-rows").append(element);
    return row;
  }
}
