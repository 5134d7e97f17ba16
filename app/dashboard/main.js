// Wires the panels to the service, and polls it once a second while the page is in sight.

import { Charts } from "./charts.js";
import { History } from "./history.js";
import { Overview } from "./overview.js";
import { announce, byId, setText } from "./page.js";
import { PageMap } from "./page_map.js";
import { ParametersForm } from "./parameters.js";
import { Problem, Service } from "./service.js";
import { wireTheme } from "./theme_button.js";
import { TokenDialog } from "./token_dialog.js";
import { TypesTable } from "./types_table.js";

const POLL_MS = 1000;
const TYPES_EVERY = 2;

const service = new Service();
const history = new History();
const charts = new Charts(history);
const overview = new Overview();
const map = new PageMap(service);
const tokens = new TokenDialog(service, () => {
  isWaitingForToken = false;
  setRestricted(false);
  poll();
});
const types = new TypesTable(service, (numbers) => map.show(numbers, pageSize));
const parameters = new ParametersForm(service, (problem) => tokens.open(problem.message));

let pageSize = 4096;
let round = 0;
let isPaused = false;
let isRestricted = false;
let isPolling = false;
let isWaitingForToken = false;

async function poll() {
  if (isPolling) return;
  isPolling = true;
  try {
    const pool = isRestricted ? await pollPool() : await pollActivity();
    if (pool) pageSize = pool.page_size;
    if (pool && round++ % TYPES_EVERY === 0) await types.refresh();
    map.tick();
    if (isPaused) return;
    setLink(pool ? "live" : "away", pool ? "live" : "Redis is out of reach");
  } catch (error) {
    fail(error);
  } finally {
    isPolling = false;
  }
}

async function pollActivity() {
  const askedAt = performance.now();
  const activity = await service.get("v1/activity");
  overview.show(activity);
  history.add(activity);
  charts.draw();
  parameters.show(activity.parameters, askedAt);
  return activity.pool;
}

/** What a token sees that is restricted to some types: the pool's sums, its types and their maps. */
async function pollPool() {
  const pool = await service.get("v1/pool");
  overview.show({ pool });
  return pool;
}

function setRestricted(isSo) {
  isRestricted = isSo;
  byId("activity-section").hidden = byId("parameters-section").hidden = isSo;
}

function fail(error) {
  if (error instanceof Problem && error.status === 403 && !isRestricted) {
    setRestricted(true);
  } else if (error instanceof Problem && error.status === 401) {
    isWaitingForToken = true;
    setLink("away", "a token is needed");
    tokens.open(service.token ? error.message : "");
  } else if (error instanceof Problem) setLink("away", error.message);
  else setLink("away", "no answer from the service, trying again");
}

function setLink(state, text) {
  const link = byId("link");
  if (link.dataset.link !== state && link.dataset.link !== "waiting") announce(state === "live" ? "Connected again." : text);
  link.dataset.link = state;
  setText(byId("link-text"), text);
}

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  if (isPaused) setLink("paused", "paused");
  else poll();
});
document.addEventListener("visibilitychange", () => tick());
wireTheme(byId("theme"), () => map.readColours());

function tick() {
  if (!isPaused && !isWaitingForToken && document.visibilityState === "visible") poll();
}

setInterval(tick, POLL_MS);
poll();
