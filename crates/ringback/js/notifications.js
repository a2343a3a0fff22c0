/**
 * What this user is told of missed calls, notes and the like: calmly, as their own settings have it. Where the server keeps the peace
 * (docs/peace.md), each notification comes here as it is shown anywhere; a later one of the same id takes its place.
 */
import { Attention } from "./attention.js";
import { Emitter } from "./emitter.js";
import { asRingbackError } from "./errors.js";

/** @typedef {import("./http.js").Http} Http */
/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {"missed_call"|"note"|"reaction"|"image"} OccurrenceKind */
/** @typedef {{id: string, at: number, kind: OccurrenceKind, from: {user: string, name?: string}, thread: string, call?: string, note?: string, image?: string, about?: string}} Item */
/** Why it comes. @typedef {{rule: "welcome"|"favourite"|"repeated_calls"|"digest", times?: number, within_s?: number}} Reason */
/** `silent`: it takes the place of an earlier one without a sound. @typedef {{id: string, revision: number, silent: boolean, why: Reason, from: {user: string, name?: string}|null, items: Item[], total: number}} Notification */
/** Why something waits, and until when at the latest. @typedef {{rule: "in_view"|"quiet_hours"|"budget", until: number, in_words: string}} Hold */
/** @typedef {Item & {held: Hold|null, notification: {id: string, at: number, why: Reason, in_words: string}|null, seen_at: number|null}} Entry */
/** @typedef {{new: number, old: number}} Count */
/** @typedef {"mon"|"tue"|"wed"|"thu"|"fri"|"sat"|"sun"} Day */
/** `from` and `until` as `"22:00"`; where they end no later than they begin, on the day after. @typedef {{days: Day[], from: string, until: string}} QuietHours */
/** @typedef {{time_zone: string, quiet_hours: QuietHours[], coalesce_s: number, alerts_per_hour: number|null, repeated_calls: {times: number, within_s: number}|null, favourites: string[]}} PeaceSettings */

/**
 * `shown`: a notification, new or in place of an earlier one of its id.
 * @extends {Emitter<{shown: Notification}>}
 */
export class Notifications extends Emitter {
  /** How much there is of each kind, as far as it was told. @type {Partial<Record<OccurrenceKind, Count>>} */
  counts = {};
  #http;
  #socket;
  /** @type {string|null} */
  #looksAt = null;
  /** @type {Attention|undefined} */
  #attention;
  /** What the server was told last over this socket. @type {string|null} */
  #told = null;

  /** Made by `Session`. @param {Http} http @param {SignalingSocket} socket */
  constructor(http, socket) {
    super();
    this.#http = http;
    this.#socket = socket;
    socket.on("hello", () => {
      this.#told = null;
      this.#tellView();
    });
  }

  /**
   * The newest of this thread is shown on the page now; null: of none. While somebody is at the page, which is found out here, they are not told of what comes into it.
   * @param {string|null} thread
   */
  lookAt(thread) {
    if (thread === this.#looksAt) return;
    this.#looksAt = thread;
    this.#attention?.stop();
    this.#attention = thread === null ? undefined : new Attention(() => this.#tellView());
    this.#tellView();
  }

  /** The thread that somebody has before them on this page: shown, with the page visible, focused and in use. @returns {string|null} */
  get inView() {
    return this.#attention?.present ? this.#looksAt : null;
  }

  #tellView() {
    const thread = this.inView;
    if (thread === this.#told) return;
    this.#told = thread;
    // Where it does not arrive, the user is told of what they see: once too often rather than never.
    this.#socket.request("thread.view", { thread }).catch(() => {});
  }

  /** @param {ServerEvent} event */
  handle(event) {
    if (event.event === "notification.in_view") {
      // Only what is seen: of everything else the server tells in a moment.
      if (event.thread === this.inView) this.seen({ ids: event.ids }).catch(() => {});
      return;
    }
    this.counts = event.counts ?? this.counts;
    if (event.notification) this.emit("shown", event.notification);
  }

  /**
   * What happened, newest first, with what came of it and why.
   * @param {{before?: string|null, limit?: number, waitingOnly?: boolean}} [options]
   * @returns {Promise<{entries: Entry[], next: string|null}>}
   */
  async list({ before, limit, waitingOnly = false } = {}) {
    const page = await this.#http.get("notifications", { before, limit, waiting: waitingOnly ? true : undefined });
    this.counts = page.counts;
    return { entries: page.entries, next: page.next };
  }

  /**
   * These were seen, or everything up to a time (Unix milliseconds): nobody is told of them any more.
   * @param {{ids?: string[], until?: number}} what
   */
  async seen({ ids = [], until }) {
    const { counts } = await this.#http.send("POST", "notifications/seen", { ids, until });
    this.counts = counts;
  }

  /**
   * What this user wants; `quietUntil` where it is quiet now.
   * @returns {Promise<{settings: PeaceSettings, quietUntil: number|null}|null>} null where the server keeps no peace
   */
  async settings() {
    try {
      const { settings, quiet_until: quietUntil } = await this.#http.get("notifications/settings");
      return { settings, quietUntil };
    } catch (thrown) {
      if (asRingbackError(thrown).code === "not_found") return null;
      throw thrown;
    }
  }

  /**
   * Keeps what this user wants; what is left out is as the server has it.
   * @param {Partial<PeaceSettings>} settings
   * @returns {Promise<{settings: PeaceSettings, quietUntil: number|null}>}
   */
  async saveSettings(settings) {
    const kept = await this.#http.send("PUT", "notifications/settings", settings);
    return { settings: kept.settings, quietUntil: kept.quiet_until };
  }
}
