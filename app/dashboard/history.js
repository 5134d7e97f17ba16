// From cumulative counters, sampled once a second, to rates and percentiles over time.

export const WINDOW_SECONDS = 300;
const RATE_SECONDS = 5;
const TRAILING_SECONDS = 10;
const HEADLINE_SECONDS = 60;
const GAP_SECONDS = 4;

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** The quantile q of events counted in buckets, in seconds, linear within a bucket; null if there were none. */
export function quantile(q, bounds, counts) {
  const total = sum(counts);
  if (!total) return null;
  let before = 0;
  for (let index = 0; index < counts.length; index++) {
    if (counts[index] && before + counts[index] >= q * total) {
      const low = index ? bounds[index - 1] : 0;
      // Nothing is known above the last bound but that it was passed.
      const high = index < bounds.length ? bounds[index] : bounds[bounds.length - 1];
      return low + ((high - low) * (q * total - before)) / counts[index];
    }
    before += counts[index];
  }
  return bounds[bounds.length - 1];
}

const less = (later, earlier) => later.map((value, index) => value - earlier[index]);

/** One sample, flat: what the derivations below work on. */
function flatten(activity) {
  const { stores, loads, rejects } = activity.counters;
  return {
    at: activity.at,
    stores: sum(Object.values(stores)),
    hits: sum(Object.values(loads)) - loads.miss,
    misses: loads.miss,
    rejects: sum(Object.values(rejects)),
    load: activity.latency.load,
    store: activity.latency.store,
  };
}

export class History {
  #samples = [];
  #bounds = [];
  /** One for each second: {at, stores, hits, misses, hitRate, rejects, loadP50, loadP99, storeP50, storeP99, afterGap}. */
  points = [];

  add(activity) {
    const sample = flatten(activity);
    this.#bounds = activity.latency.bounds_seconds;
    const last = this.#samples.at(-1);
    if (last && sample.at <= last.at && sample.stores >= last.stores) return;
    // Counters that go back are those of a service that started anew: nothing before can be compared.
    if (last && (sample.at < last.at || sample.stores < last.stores || sample.hits < last.hits)) this.#samples = [];
    this.#samples.push(sample);
    const oldest = sample.at - WINDOW_SECONDS - TRAILING_SECONDS;
    while (this.#samples[0].at < oldest) this.#samples.shift();
    const point = this.#over(RATE_SECONDS, TRAILING_SECONDS);
    if (!point) return;
    point.afterGap = this.points.length > 0 && sample.at - this.points.at(-1).at > GAP_SECONDS;
    this.points.push(point);
    while (this.points[0].at < sample.at - WINDOW_SECONDS) this.points.shift();
  }

  /** The same figures over the last minute; null before there are two samples. */
  lastMinute() {
    return this.#over(HEADLINE_SECONDS, HEADLINE_SECONDS);
  }

  #before(seconds) {
    const last = this.#samples.at(-1);
    return this.#samples.find((sample) => sample.at >= last.at - seconds - 0.5);
  }

  #over(rateSeconds, latencySeconds) {
    const last = this.#samples.at(-1);
    const first = this.#samples.length > 1 ? this.#before(rateSeconds) : last;
    if (!last || first === last) return null;
    const elapsed = last.at - first.at;
    const rate = (name) => (last[name] - first[name]) / elapsed;
    const earlier = this.#before(latencySeconds);
    const load = less(last.load, earlier.load);
    const store = less(last.store, earlier.store);
    const hits = rate("hits");
    const misses = rate("misses");
    return {
      at: last.at,
      stores: rate("stores"),
      hits,
      misses,
      loads: hits + misses,
      hitRate: hits + misses ? (100 * hits) / (hits + misses) : null,
      rejects: rate("rejects"),
      loadP50: quantile(0.5, this.#bounds, load),
      loadP99: quantile(0.99, this.#bounds, load),
      storeP50: quantile(0.5, this.#bounds, store),
      storeP99: quantile(0.99, this.#bounds, store),
    };
  }
}
