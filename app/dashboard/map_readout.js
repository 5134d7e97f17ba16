// What the map shows, in words and numbers: the cell under the cursor, and the table of all that is in sight.

import * as format from "./format.js";
import { meanShare } from "./map_picture.js";
import { byId, fillRows, setText } from "./page.js";

const KINDS = ["zero", "same", "compressed", "raw"];
const WITH_HOLE = [...KINDS, "hole"];
const TABLE_ROWS = 16;

/** The cells first … last - 1 as one, without what lies behind the type's end; `hole` counts the absent pages. */
export function cellOf(cells, first, last, end) {
  const cell = cells.sum(first, last);
  cell.count = Math.min(cell.count, end - cell.offset);
  cell.hole = Math.max(0, cell.count - KINDS.reduce((held, kind) => held + cell[kind], 0));
  return cell;
}

/** `cell` may be null: nothing is pointed at. */
export function showCell(cell, pageSize) {
  setText(byId("read-pages"), cell ? pagesOf(cell) : "–");
  setText(byId("read-address"), cell ? `0x${(BigInt(cell.offset) * BigInt(pageSize)).toString(16)}` : "–");
  for (const kind of WITH_HOLE) setText(byId(`read-${kind}`), cell ? format.count(cell[kind]) : "–");
  if (cell?.compressed) {
    const share = meanShare(cell.compressed, cell.raw, cell.bytes, pageSize);
    setText(byId("read-compressed"), `${format.count(cell.compressed)} at ${Math.round(100 * share)} %`);
  }
  setText(byId("read-bytes"), cell ? format.count(cell.bytes) : "–");
}

/** The same for those who listen: only the kinds that occur. */
export function sentence(cell) {
  if (!cell) return "";
  const kinds = WITH_HOLE.filter((kind) => cell[kind] > 0);
  const parts = kinds.map((kind) => (cell.count === 1 ? kind : `${kind} ${format.count(cell[kind])}`));
  return `Pages ${pagesOf(cell)}: ${parts.join(", ")}; ${format.count(cell.bytes)} bytes`;
}

export function fillTable(cells, end) {
  const used = Math.min(cells.length, Math.ceil((end - cells.from) / cells.size));
  const step = Math.max(1, Math.ceil(used / TABLE_ROWS));
  const rows = [];
  for (let first = 0; first < used; first += step) {
    const cell = cellOf(cells, first, Math.min(first + step, used), end);
    rows.push([pagesOf(cell), ...WITH_HOLE.map((kind) => format.count(cell[kind])), format.count(cell.bytes)]);
  }
  fillRows(byId("map-rows"), rows);
}

function pagesOf(cell) {
  const first = format.count(cell.offset);
  return cell.count === 1 ? first : `${first} – ${format.count(cell.offset + cell.count - 1)}`;
}
