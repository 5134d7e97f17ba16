// The pool at a glance: gauge, state, figures, kinds, and what was counted since the service started.

import * as format from "./format.js";
import { announce, byId, make, setData, setText } from "./page.js";

const KINDS = [
  ["zero", "zero_pages"],
  ["same", "same_filled_pages"],
  ["compressed", "compressed_pages"],
  ["raw", "incompressible_pages"],
];

const REASONS = {
  pool_full: "Pool full",
  type_full: "Type full",
  metadata_full: "Too many pages",
  disabled: "Stores disabled",
  redis_oom: "Redis lacks memory",
  compress_fail: "Not compressed",
};

export class Overview {
  #state = null;
  #tally = new Map();

  /** An activity document; its parameters and counters may be left out. */
  show(activity) {
    const { pool, parameters } = activity;
    if (pool) {
      this.#showPool(pool, parameters);
      this.#showKinds(pool);
    }
    this.#showState(activity);
    if (activity.counters) this.#showTally(activity);
  }

  #showPool(pool, parameters) {
    const { limit_bytes: limit } = pool;
    setData("pool-mib", pool.pool_mib, format.mib);
    setData("limit-mib", pool.limit_mib, (value) => (limit ? `${format.mib(value)} MiB` : "no limit"));
    setData("limit-percent", pool.limit_used_percent, format.percent);
    byId("limit-percent-part").hidden = !limit;
    setData("ratio", pool.compression_ratio, format.ratio);
    setData("saved-mib", pool.saved_mib, format.mib);
    setData("zero-share", pool.zero_share_percent, format.percent);
    setData("hit-rate", pool.hit_rate, (value) => format.percent(value === null ? null : 100 * value));
    setData("logical-mib", pool.logical_mib, format.mib);
    setData("redis-mib", pool.redis_used_memory_bytes, format.mibOfBytes);

    const used = Math.min(pool.limit_used_percent ?? 0, 100);
    const threshold = parameters?.accept_threshold_percent ?? 100;
    const gauge = byId("gauge");
    gauge.classList.toggle("unlimited", !limit);
    gauge.setAttribute("aria-valuenow", used);
    gauge.setAttribute("aria-valuetext", limit ? `${format.percent(pool.limit_used_percent)} of the limit` : "no limit");
    byId("gauge-fill").style.width = `${used}%`;
    byId("gauge-band").style.left = `${threshold}%`;
    byId("gauge-tick").style.left = `${threshold}%`;
    byId("gauge-tick").hidden = byId("gauge-band").hidden = !limit || threshold === 100;
    const label = byId("threshold-label");
    label.style.right = `${100 - threshold}%`;
    setText(label, limit && threshold < 100 ? `reopens at ${threshold} %` : "");
    setText(byId("limit-label"), limit ? "closes" : "no limit");
  }

  #showKinds(pool) {
    setData("stored-pages", pool.stored_pages, format.count);
    for (const [kind, key] of KINDS) {
      const share = pool.stored_pages ? (100 * pool[key]) / pool.stored_pages : 0;
      setData(`${kind}-pages`, pool[key], format.count);
      setText(byId(`${kind}-part`), format.percent(share));
      byId(`bar-${kind}`).style.width = `${share}%`;
    }
  }

  #showState({ pool, parameters }) {
    let [state, word, detail] = ["open", "open", "takes every page"];
    if (!pool) [state, word, detail] = ["away", "Redis away", "the numbers are the last known"];
    else if (parameters && !parameters.enabled) [state, word, detail] = ["disabled", "disabled", "takes no page; loads go on"];
    else if (pool.state === "closed") {
      const reopens = parameters && (pool.limit_bytes * parameters.accept_threshold_percent) / 100;
      const until = parameters ? `, reopens at ${format.mibOfBytes(reopens)} MiB` : "";
      [state, word, detail] = ["closed", "closed", `takes zero pages only${until}`];
    }
    byId("state").dataset.state = state;
    setText(byId("state-word"), word);
    setText(byId("state-detail"), detail);
    document.title = state === "open" ? "Pagepool" : `${word} · Pagepool`;
    if (this.#state !== null && this.#state !== state) announce(`The pool is ${word}: ${detail}.`);
    this.#state = state;
  }

  #showTally({ counters, gauges }) {
    for (const [reason, label] of Object.entries(REASONS)) this.#count("refused", label, counters.rejects[reason] ?? 0, true);
    this.#count("service", "Corrupt blobs", counters.decode_failures, true);
    this.#count("service", "Turned away", counters.overloaded, true);
    this.#count("service", "Connections", gauges.connections);
    this.#count("service", "In flight", gauges.requests_in_flight);
  }

  #count(list, label, value, isTrouble = false) {
    let entry = this.#tally.get(label);
    if (!entry) {
      entry = make("data", { value: "" });
      this.#tally.set(label, entry);
      byId(list).append(make("div", {}, make("dt", {}, label), make("dd", {}, entry)));
    }
    entry.value = String(value);
    entry.parentElement.parentElement.classList.toggle("trouble", isTrouble && value > 0);
    setText(entry, format.count(value));
  }
}
