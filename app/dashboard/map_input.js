// Wheel, pinch, pointer, keyboard and buttons, all turned into the map's few moves.

import { parseCount } from "./format.js";
import { byId, setText } from "./page.js";

const WHEEL_STEP = 60;
const PINCH_STEP = 1.5;
const DRAG_PIXELS = 4;

/** Let `map` (a PageMap) be steered on its canvas and its strip, and by the buttons beside. */
export function steer(map, canvas, strip) {
  const middle = () => {
    const { from, pages } = map.view;
    return map.page >= from && map.page < from + pages ? map.page : from + pages / 2;
  };
  byId("map-in").addEventListener("click", () => map.zoom(-1, middle()));
  byId("map-out").addEventListener("click", () => map.zoom(1, middle()));
  byId("map-fit").addEventListener("click", () => map.fit());
  byId("map-back").addEventListener("click", () => map.pan(-map.view.rows / 2));
  byId("map-forward").addEventListener("click", () => map.pan(map.view.rows / 2));
  byId("map-go").addEventListener("submit", (event) => {
    event.preventDefault();
    const page = parseCount(byId("map-page").value);
    if (Number.isNaN(page)) setText(byId("map-said"), "A page is a whole number.");
    else map.setCursor(page, true);
  });
  listenToKeys(map, canvas, middle);
  listenToWheel(map, canvas);
  listenToPointers(map, canvas);
  strip.addEventListener("pointerdown", (event) => strip.setPointerCapture(event.pointerId));
  for (const kind of ["pointerdown", "pointermove"]) {
    strip.addEventListener(kind, (event) => {
      if (!event.buttons || map.view.isWhole) return;
      const page = (event.offsetX / strip.clientWidth) * map.view.end;
      map.view.moveTo(page - map.view.pages / 2);
      map.moved();
    });
  }
}

function listenToKeys(map, canvas, middle) {
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { view } = map;
    const cellStart = map.page - (map.page % view.size);
    const step = (cells) => () => map.setCursor(map.page < 0 ? view.from : cellStart + cells * view.size, true);
    const moves = {
      ArrowLeft: step(-1),
      ArrowRight: step(1),
      ArrowUp: step(-view.columns),
      ArrowDown: step(view.columns),
      PageUp: step(-view.cellCount),
      PageDown: step(view.cellCount),
      Home: () => map.setCursor(0, true),
      End: () => map.setCursor(view.end - 1, true),
      "+": () => map.zoom(-1, middle()),
      "=": () => map.zoom(-1, middle()),
      Enter: () => map.zoom(-1, middle()),
      "-": () => map.zoom(1, middle()),
      0: () => map.fit(),
    };
    if (!Object.hasOwn(moves, event.key)) return;
    event.preventDefault();
    moves[event.key]();
  });
}

function listenToWheel(map, canvas) {
  let turned = 0;
  const onWheel = (event) => {
    // Without the focus the wheel scrolls the page past the map; a trackpad's pinch comes with ctrlKey.
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    turned += event.deltaY * (event.deltaMode === 1 ? 30 : 1) * (event.ctrlKey ? 4 : 1);
    const steps = Math.trunc(turned / WHEEL_STEP);
    if (!steps) return;
    turned -= steps * WHEEL_STEP;
    const cell = map.cellAt(event.offsetX, event.offsetY);
    if (cell < 0) return;
    map.zoom(Math.sign(steps), map.pageOf(cell));
    map.setHover(map.cellAt(event.offsetX, event.offsetY));
  };
  canvas.addEventListener("wheel", onWheel, { passive: false });
}

function listenToPointers(map, canvas) {
  const pointers = new Map();
  let apart = 0;
  let dragged = null;
  const distance = () => {
    const [first, second] = pointers.values();
    return Math.hypot(first.offsetX - second.offsetX, first.offsetY - second.offsetY);
  };
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
    if (pointers.size === 2) apart = distance();
    dragged = pointers.size === 1 ? { y: event.offsetY, isDrag: false } : null;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event);
    if (pointers.size === 2) pinch();
    else if (dragged && event.pointerType === "mouse") drag(event);
    else if (event.pointerType === "mouse") map.setHover(map.cellAt(event.offsetX, event.offsetY));
  });
  const pinch = () => {
    const [first, second] = pointers.values();
    const factor = distance() / (apart || 1);
    if (factor < PINCH_STEP && factor > 1 / PINCH_STEP) return;
    const cell = map.cellAt((first.offsetX + second.offsetX) / 2, (first.offsetY + second.offsetY) / 2);
    if (cell >= 0) map.zoom(factor > 1 ? -1 : 1, map.pageOf(cell));
    apart = distance();
  };
  const drag = (event) => {
    const rows = Math.round((dragged.y - event.offsetY) / (canvas.clientHeight / map.view.rows));
    if (Math.abs(dragged.y - event.offsetY) > DRAG_PIXELS) dragged.isDrag = true;
    if (!rows || !dragged.isDrag) return;
    map.pan(rows);
    dragged.y = event.offsetY;
  };
  canvas.addEventListener("pointerup", (event) => {
    const wasTap = pointers.size === 1 && dragged && !dragged.isDrag;
    pointers.delete(event.pointerId);
    dragged = null;
    if (!wasTap) return;
    const cell = map.cellAt(event.offsetX, event.offsetY);
    if (cell >= 0) map.setCursor(map.pageOf(cell), false);
  });
  canvas.addEventListener("pointercancel", (event) => {
    pointers.delete(event.pointerId);
    dragged = null;
  });
  canvas.addEventListener("pointerleave", () => map.setHover(-1));
  canvas.addEventListener("dblclick", (event) => {
    const cell = map.cellAt(event.offsetX, event.offsetY);
    if (cell >= 0) map.zoom(-1, map.pageOf(cell));
  });
}
