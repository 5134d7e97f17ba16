// The service's API: JSON over fetch, problem documents as errors, a token kept for this tab only.

const TOKEN_KEY = "pagepool-token";
const TIMEOUT_MS = 15_000;

/** An answer that is not 2xx; `detail` is the problem document's. */
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `The service answered ${status}.`);
    this.status = status;
    this.code = document.code || "";
  }
}

export class Service {
  get token() {
    return sessionStorage.getItem(TOKEN_KEY);
  }

  set token(value) {
    if (value) sessionStorage.setItem(TOKEN_KEY, value);
    else sessionStorage.removeItem(TOKEN_KEY);
  }

  /** The JSON at a path such as "v1/pool", relative to the page so that a proxy may put a prefix before it. */
  get(path, signal) {
    return this.#ask("GET", path, undefined, signal);
  }

  patch(path, body) {
    return this.#ask("PATCH", path, JSON.stringify(body));
  }

  async #ask(method, path, body, signal) {
    const headers = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (this.token) headers.authorization = `Bearer ${this.token}`;
    const limits = [AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])];
    const response = await fetch(new URL(path, document.baseURI), {
      method,
      headers,
      body,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.any(limits),
    });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Problem(response.status, answer);
    return answer;
  }
}
