/**
 * The protocol's HTTP side: listings, and what a page fetches rather than is told. It knows paths and errors, not notes.
 */
import { RingbackError } from "./errors.js";

/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */

/** A status without a body that says more. @type {Record<number, import("./errors.js").ErrorCode>} */
const CODES = { 400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 429: "rate_limited" };

export class Http {
  #socket;

  /** @param {SignalingSocket} socket whose address and token are used */
  constructor(socket) {
    this.#socket = socket;
  }

  /** An address that the server gave relative to its base. @param {string} path */
  absolute(path) {
    return new URL(path, this.#socket.base).href;
  }

  /**
   * @param {string} path below `v1/`
   * @param {Record<string, string|number|boolean|undefined|null>} [query] without what is undefined or null
   * @returns {Promise<any>} the answer's body
   * @throws {RingbackError} the answer's error, or `disconnected`
   */
  async get(path, query = {}) {
    const url = this.#url(path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    return this.#answer(await this.#authorized(url, {}));
  }

  /**
   * Sends something.
   * @param {"POST"|"PUT"|"DELETE"} method
   * @param {string} path below `v1/`
   * @param {unknown} [body] as JSON
   * @returns {Promise<any>} the answer's body
   * @throws {RingbackError} the answer's error, or `disconnected`
   */
  async send(method, path, body) {
    const sent = body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return this.#answer(await this.#authorized(this.#url(path), { method, ...sent }));
  }

  /**
   * A request whose answer is the caller's to read.
   * @param {string} method
   * @param {string} path below `v1/`
   * @param {{headers?: Record<string, string>, body?: Blob}} [init]
   * @returns {Promise<Response>}
   * @throws {RingbackError} `disconnected`
   */
  raw(method, path, init = {}) {
    return this.#authorized(this.#url(path), { method, ...init });
  }

  /** What a refused request says. @param {Response} response @returns {Promise<RingbackError>} */
  async refusal(response) {
    const body = await response.json().catch(() => ({}));
    const { code, message, retry_after_ms: retryAfterMs } = body.error ?? {};
    const said = message ?? `${new URL(response.url).pathname} was answered with status ${response.status}`;
    return new RingbackError(code ?? CODES[response.status] ?? "internal", said, { retryAfterMs });
  }

  /** @param {string} path */
  #url(path) {
    return new URL(this.absolute(`v1/${path}`));
  }

  /** @param {Response} response */
  async #answer(response) {
    if (!response.ok) throw await this.refusal(response);
    return response.json().catch(() => ({}));
  }

  /** @param {URL} url @param {RequestInit} init */
  async #authorized(url, init) {
    const first = await this.#fetch(url, init, false);
    return first.status === 401 ? this.#fetch(url, init, true) : first;
  }

  /**
   * @param {URL} url
   * @param {RequestInit} init
   * @param {boolean} renew whether a token was refused just now
   */
  async #fetch(url, init, renew) {
    const token = await this.#socket.bearer({ renew });
    try {
      return await fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });
    } catch (cause) {
      throw new RingbackError("disconnected", "the server cannot be reached", { cause });
    }
  }
}
