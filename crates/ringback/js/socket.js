/**
 * The signaling socket: requests with their answers, events, heartbeat, and reconnection with backoff. It knows frames,
 * not calls. Requests made while it reconnects wait for the socket until their own timeout.
 */
import { Emitter } from "./emitter.js";
import { RingbackError, asRingbackError } from "./errors.js";
import { PROTOCOL_VERSION } from "./protocol.js";

/** @typedef {import("./protocol.js").Hello} Hello */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {"connecting"|"open"|"reconnecting"|"closed"} SocketState */
/** @typedef {string|(() => string|Promise<string>)} TokenSource a token, or a function that brings a fresh one for each connection */

/** Longer than a slow mobile round trip, short enough that a button does not seem dead. */
const REQUEST_TIMEOUT_MS = 10_000;
/** The first retry is quick, since most losses are a blip; the cap keeps a returning server from being stormed. */
const BACKOFF_FIRST_MS = 250;
const BACKOFF_LIMIT_MS = 10_000;
/** A living socket answers within a round trip; more than a slow one needs would keep somebody waiting who has just come back. */
const WAKE_TIMEOUT_MS = 3_000;

const CLOSE_BAD_PROTOCOL = 4400;
const CLOSE_UNAUTHORIZED = 4401;
const CLOSE_REPLACED = 4409;

/**
 * @typedef {object} Pending
 * @property {(ok: any) => void} resolve
 * @property {(error: RingbackError) => void} reject
 */

/**
 * `state`: the socket's state changed. `hello`: a connection is up (again). `event`: a frame from the server.
 * `fatal`: it is closed for good and why.
 * @extends {Emitter<{state: SocketState, hello: Hello, event: ServerEvent, fatal: RingbackError}>}
 */
export class SignalingSocket extends Emitter {
  /** @type {SocketState} */
  state = "connecting";
  #url;
  #token;
  #device;
  /** @type {WebSocket|undefined} */
  #socket;
  #nextId = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** Requests that wait for the socket. @type {Set<{send: () => void, reject: (error: RingbackError) => void}>} */
  #waiting = new Set();
  #attempts = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #retry;
  /** @type {(() => void)|undefined} */
  #stopHeartbeat;
  #welcomed = false;
  /** What the latest hello was said with. */
  #bearer = "";
  /** Up to where the server has told us what happened: asked for on the next connection. @type {{stream: string, seq: number}|undefined} */
  #told;
  #online = () => this.#reconnectNow();
  #shown = () => !document.hidden && this.#wake();

  /**
   * @param {string} url of the WebSocket; http(s) is turned into ws(s)
   * @param {TokenSource} token
   * @param {string} [device] stable id of this device
   */
  constructor(url, token, device) {
    super();
    const absolute = new URL(url, globalThis.location?.href);
    absolute.protocol = absolute.protocol.replace(/^http/, "ws");
    this.#url = absolute.href;
    this.#token = token;
    this.#device = device;
  }

  /** Where the server's paths start: the address of the WebSocket, as HTTP, without its `v1/ws`. */
  get base() {
    return new URL("..", this.#url.replace(/^ws/, "http")).href;
  }

  /**
   * The token, for a request over HTTP.
   * @param {{renew?: boolean}} [options] whether the last one was refused
   * @returns {Promise<string>}
   */
  async bearer({ renew = false } = {}) {
    if (typeof this.#token === "string") return this.#token;
    if (renew || !this.#bearer) this.#bearer = await this.#token();
    return this.#bearer;
  }

  /**
   * Connects for the first time. A failure here is final and thrown; after that, losses are repaired.
   * @returns {Promise<Hello>}
   */
  async open() {
    try {
      const hello = await this.#connect();
      globalThis.addEventListener?.("online", this.#online);
      globalThis.document?.addEventListener("visibilitychange", this.#shown);
      return hello;
    } catch (thrown) {
      this.#finish(asRingbackError(thrown, "disconnected"));
      throw asRingbackError(thrown, "disconnected");
    }
  }

  /** Closes for good. */
  close() {
    this.#finish(new RingbackError("closed", "the session was closed"));
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   * @param {{timeoutMs?: number}} [options]
   * @returns {Promise<any>} the answer's `ok`
   * @throws {RingbackError} the answer's `error`, `timeout`, or `closed`
   */
  request(type, fields = {}, { timeoutMs = REQUEST_TIMEOUT_MS } = {}) {
    return new Promise((resolve, reject) => {
      if (this.state === "closed") {
        reject(new RingbackError("closed", `${type}: the session is closed`));
        return;
      }
      let id = 0;
      /** @param {(value: any) => void} settle */
      const settled = (settle) => (/** @type {any} */ value) => {
        clearTimeout(timer);
        this.#pending.delete(id);
        this.#waiting.delete(waiting);
        settle(value);
      };
      const done = { resolve: settled(resolve), reject: settled(reject) };
      const waiting = {
        send: () => {
          id = this.#send(type, fields, done);
        },
        reject: done.reject,
      };
      const timer = setTimeout(
        () => done.reject(new RingbackError("timeout", `${type}: no answer within ${timeoutMs} ms`)),
        timeoutMs,
      );
      if (this.state === "open") waiting.send();
      else this.#waiting.add(waiting);
    });
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} fields
   * @param {Pending} pending
   */
  #send(type, fields, pending) {
    const id = this.#nextId++;
    this.#pending.set(id, pending);
    this.#socket?.send(JSON.stringify({ id, type, ...fields }));
    return id;
  }

  /** @returns {Promise<Hello>} */
  async #connect() {
    const token = await this.bearer({ renew: true });
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.#url);
      this.#socket = socket;
      const timer = setTimeout(() => socket.close(), REQUEST_TIMEOUT_MS);
      socket.onopen = () => {
        const device = this.#device && { device: this.#device };
        const hello = { version: PROTOCOL_VERSION, token, ...device, ...(this.#told && { resume: this.#told }) };
        this.#send("hello", hello, {
          resolve: (/** @type {Hello} */ ok) => {
            clearTimeout(timer);
            this.#opened(ok);
            resolve(ok);
          },
          reject: (error) => {
            reject(error);
            socket.close();
          },
        });
      };
      socket.onmessage = (message) => this.#received(message.data);
      socket.onclose = (close) => {
        clearTimeout(timer);
        const lost = lostError(close);
        this.#lost(socket, close, lost);
        reject(lost);
      };
    });
  }

  /** @param {Hello} hello */
  #opened(hello) {
    this.#attempts = 0;
    this.#welcomed = true;
    // To come back as the same device, whose call and events wait for it.
    this.#device = hello.device;
    this.#told = { stream: hello.stream, seq: hello.resumed ? (this.#told?.seq ?? 0) : 0 };
    this.#setState("open");
    this.#stopHeartbeat = startHeartbeat(hello.heartbeat_ms, () => this.#beat(hello.heartbeat_ms));
    // Whoever listens puts itself right with the server's picture before older requests go out.
    this.emit("hello", hello);
    for (const waiting of [...this.#waiting]) {
      this.#waiting.delete(waiting);
      waiting.send();
    }
  }

  /** A page that comes to the front may have been frozen for longer than its socket lived, and nobody told it. */
  #wake() {
    if (this.state === "open") this.#beat(WAKE_TIMEOUT_MS);
    else this.#reconnectNow();
  }

  /** @param {number} periodMs */
  #beat(periodMs) {
    const socket = this.#socket;
    if (this.state !== "open" || !socket) return;
    this.request("ping", {}, { timeoutMs: periodMs }).catch((error) => {
      // close() alone waits for the other side's close, which a dead network never brings.
      if (error.code === "timeout" && this.#socket === socket) {
        socket.close();
        const silent = { code: 1006, reason: "the server went silent" };
        this.#lost(socket, silent, lostError(silent));
      }
    });
  }

  /** @param {unknown} text */
  #received(text) {
    let frame;
    try {
      frame = JSON.parse(String(text));
    } catch {
      return;
    }
    if (typeof frame !== "object" || frame === null) return;
    if (typeof frame.event === "string") {
      if (this.#told && typeof frame.seq === "number") {
        // Each once, whatever was on its way when the socket broke.
        if (frame.seq <= this.#told.seq) return;
        this.#told.seq = frame.seq;
      }
      this.emit("event", frame);
      return;
    }
    const pending = this.#pending.get(frame.re);
    if (!pending) return;
    this.#pending.delete(frame.re);
    if (frame.error) {
      const { code, message, retry_after_ms: retryAfterMs } = frame.error;
      pending.reject(new RingbackError(code, message, { retryAfterMs }));
    } else {
      pending.resolve(frame.ok ?? {});
    }
  }

  /**
   * @param {WebSocket} socket
   * @param {{code: number, reason: string}} close
   * @param {RingbackError} lost
   */
  #lost(socket, close, lost) {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#stopHeartbeat?.();
    for (const pending of [...this.#pending.values()]) pending.reject(lost);
    this.#pending.clear();
    if (this.state === "closed" || !this.#welcomed) return;
    const refreshable = lost.code === "unauthorized" && typeof this.#token === "function";
    if (lost.code === "disconnected" || refreshable) this.#scheduleRetry();
    else this.#finish(lost);
  }

  #scheduleRetry() {
    this.#setState("reconnecting");
    const ceiling = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** this.#attempts++);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#reconnectNow(), ceiling / 2 + (Math.random() * ceiling) / 2);
  }

  #reconnectNow() {
    if (this.state !== "reconnecting" || this.#socket) return;
    clearTimeout(this.#retry);
    this.#connect().catch((thrown) => {
      const error = asRingbackError(thrown);
      const refused = error.code === "unauthorized" || error.code === "token_expired";
      if (refused && typeof this.#token !== "function") this.#finish(error);
      // A token function that fails never made a socket whose close would have scheduled the next try.
      else if (this.state === "reconnecting" && !this.#socket) this.#scheduleRetry();
    });
  }

  /** @param {RingbackError} error */
  #finish(error) {
    if (this.state === "closed") return;
    this.#setState("closed");
    clearTimeout(this.#retry);
    this.#stopHeartbeat?.();
    globalThis.removeEventListener?.("online", this.#online);
    globalThis.document?.removeEventListener("visibilitychange", this.#shown);
    for (const request of [...this.#pending.values(), ...this.#waiting]) request.reject(error);
    this.#pending.clear();
    this.#waiting.clear();
    this.#socket?.close(1000);
    this.#socket = undefined;
    if (this.#welcomed) this.emit("fatal", error);
  }

  /** @param {SocketState} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }
}

/**
 * @param {{code: number, reason: string}} close
 * @returns {RingbackError} `disconnected` is worth another try, the others are not
 */
function lostError({ code, reason }) {
  if (code === CLOSE_REPLACED) return new RingbackError("replaced", "this device connected again somewhere else");
  if (code === CLOSE_BAD_PROTOCOL) {
    return new RingbackError("unsupported_version", reason || "the server speaks another version");
  }
  if (code === CLOSE_UNAUTHORIZED) {
    return new RingbackError("unauthorized", reason || "the token is invalid or has expired");
  }
  return new RingbackError("disconnected", reason || `the connection to the server was lost (${code})`);
}

/**
 * @param {number} periodMs
 * @param {() => void} beat
 * @returns {() => void} stops it
 */
function startHeartbeat(periodMs, beat) {
  try {
    const worker = new Worker(new URL("./heartbeat.js", import.meta.url), { type: "module" });
    worker.onmessage = beat;
    worker.postMessage(periodMs);
    // A page whose policy forbids the worker learns it here, after the constructor.
    worker.onerror = () => {
      fallback = setInterval(beat, periodMs);
    };
    /** @type {ReturnType<typeof setInterval>|undefined} */
    let fallback;
    return () => {
      clearInterval(fallback);
      worker.terminate();
    };
  } catch {
    const timer = setInterval(beat, periodMs);
    return () => clearInterval(timer);
  }
}
