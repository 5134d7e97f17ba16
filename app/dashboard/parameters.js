// The tunables: what is in force, and a form that sends only what was changed.

import * as format from "./format.js";
import { byId, setText } from "./page.js";
import { Problem } from "./service.js";

const NOT_BYTES = "The pool limit is a number with B, KiB, MiB, GiB or TiB, such as 512 MiB.";
const FIELDS = {
  enabled: { show: String, say: (value) => (value ? "yes" : "no"), read: (text) => text === "true" },
  compressor: { show: String, say: String, read: String },
  max_pool_bytes: {
    show: format.exactBytes,
    say: (value) => (value ? `${format.exactBytes(value)}${value % 1024 ? ` bytes, ${format.mibOfBytes(value)} MiB` : ""}` : "no limit"),
    read: (text) => needNumber(format.parseBytes(text), NOT_BYTES),
  },
  accept_threshold_percent: {
    show: String,
    say: (value) => `${value} %`,
    read: (text) => needNumber(format.parseCount(text), "The threshold is a whole number of percent."),
  },
  max_stored_pages: {
    show: String,
    say: format.count,
    read: (text) => needNumber(format.parseCount(text), "The number of pages is a whole number."),
  },
};

function needNumber(value, otherwise) {
  if (Number.isNaN(value)) throw new RangeError(otherwise);
  return value;
}

export class ParametersForm {
  #service;
  #onUnauthorised;
  #form = byId("parameters");
  #said = byId("parameters-said");
  #inForce = null;
  #isSending = false;
  /** Samples that were asked for before this moment may show what was in force before a change. */
  #changedAt = -Infinity;

  /** `onUnauthorised` is called with the problem when the service wants a token, or another one. */
  constructor(service, onUnauthorised) {
    this.#service = service;
    this.#onUnauthorised = onUnauthorised;
    this.#form.addEventListener("input", () => this.#mark());
    this.#form.addEventListener("reset", (event) => {
      event.preventDefault();
      this.#fill();
      this.#say("", "");
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** What is in force now, as an answer says that was asked for at `askedAt` (performance.now()). */
  show(parameters, askedAt) {
    if (askedAt < this.#changedAt || this.#isSending) return;
    const untouched = this.#inForce === null ? Object.keys(FIELDS) : Object.keys(FIELDS).filter((name) => !this.#isTouched(name));
    this.#inForce = parameters;
    for (const name of untouched) this.#fillField(name);
    for (const [name, field] of Object.entries(FIELDS)) setText(byId(`inforce-${name}`), field.say(parameters[name]));
    this.#mark();
  }

  #input(name) {
    return this.#form.elements.namedItem(name);
  }

  #isTouched(name) {
    return this.#inForce !== null && this.#input(name).value !== FIELDS[name].show(this.#inForce[name]);
  }

  #fillField(name) {
    const text = FIELDS[name].show(this.#inForce[name]);
    if (this.#input(name).value !== text) this.#input(name).value = text;
  }

  #fill() {
    Object.keys(FIELDS).forEach((name) => this.#fillField(name));
    this.#mark();
  }

  #mark() {
    const touched = Object.keys(FIELDS).filter((name) => this.#isTouched(name));
    for (const name of Object.keys(FIELDS)) this.#input(name).closest(".field").classList.toggle("touched", touched.includes(name));
    byId("apply").disabled = byId("reset").disabled = this.#isSending || !touched.length;
  }

  #say(tone, text) {
    this.#said.dataset.tone = tone;
    setText(this.#said, text);
  }

  async #send() {
    const before = this.#inForce;
    try {
      const patch = {};
      for (const name of Object.keys(FIELDS)) if (this.#isTouched(name)) patch[name] = FIELDS[name].read(this.#input(name).value);
      if (!Object.keys(patch).length) return;
      this.#isSending = true;
      this.#mark();
      this.#say("", "changing …");
      const after = await this.#service.patch("v1/parameters", patch);
      this.#isSending = false;
      this.#changedAt = performance.now();
      this.#inForce = after;
      this.#fill();
      this.show(after, this.#changedAt);
      this.#say("good", `In force on every worker: ${describe(before, after) || "nothing differs"}.`);
    } catch (error) {
      this.#say("bad", error.message);
      if (error instanceof Problem && error.status === 401) this.#onUnauthorised(error);
    } finally {
      this.#isSending = false;
      this.#mark();
    }
  }
}

function describe(before, after) {
  return Object.entries(FIELDS)
    .filter(([name]) => before[name] !== after[name])
    .map(([name, field]) => `${name} ${field.say(before[name])} → ${field.say(after[name])}`)
    .join(", ");
}
