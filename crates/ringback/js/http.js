/**
 * The protocol's HTTP side: listings, and what a page asks for and is not told. It knows paths and errors, not notes.
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
    const url = new URL(this.absolute(`v1/${path}`));
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null) url.searchParams.set(name, String(value));
    }
    return this.#ask("GET", url);
  }

  /**
   * @param {"POST"|"DELETE"} method
   * @param {string} path below `v1/`
   * @param {unknown} [body]
   * @returns {Promise<any>} the answer's body
   * @throws {RingbackError} the answer's error, or `disconnected`
   */
  async send(method, path, body) {
    return this.#ask(method, new URL(this.absolute(`v1/${path}`)), body);
  }

  /** @param {string} method @param {URL} url @param {unknown} [sent] */
  async #ask(method, url, sent) {
    const first = await this.#fetch(method, url, sent, false);
    const response = first.status === 401 ? await this.#fetch(method, url, sent, true) : first;
    const body = await response.json().catch(() => ({}));
    if (response.ok) return body;
    const { code, message, retry_after_ms: retryAfterMs } = body.error ?? {};
    const said = message ?? `${method} ${url.pathname} was answered with status ${response.status}`;
    throw new RingbackError(code ?? CODES[response.status] ?? "internal", said, { retryAfterMs });
  }

  /**
   * @param {string} method
   * @param {URL} url
   * @param {unknown} sent
   * @param {boolean} renew whether a token was refused just now
   */
  async #fetch(method, url, sent, renew) {
    const token = await this.#socket.bearer({ renew });
    try {
      const headers = { authorization: `Bearer ${token}`, ...(sent !== undefined && { "content-type": "application/json" }) };
      return await fetch(url, { method, headers, ...(sent !== undefined && { body: JSON.stringify(sent) }) });
    } catch (cause) {
      throw new RingbackError("disconnected", "the server cannot be reached", { cause });
    }
  }
}
