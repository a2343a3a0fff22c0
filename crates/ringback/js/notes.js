/**
 * The notes of this user: those being left, how many wait to be heard, and the listings: a thread with one row for each
 * call, and the inbox. Each note is one object wherever it shows up, so that an event reaches all the places that show it.
 */
import { Emitter } from "./emitter.js";
import { asRingbackError } from "./errors.js";
import { Note } from "./note.js";

/** @typedef {import("./image.js").Image} Image */
/** @typedef {import("./note.js").NoteHost} NoteHost */
/** @typedef {import("./protocol.js").CallRecord} CallRecord */
/** @typedef {import("./protocol.js").Hello} Hello */
/** @typedef {import("./protocol.js").NoteEventName} NoteEventName */
/** @typedef {import("./protocol.js").NoteInfo} NoteInfo */
/** @typedef {import("./protocol.js").Outcome} Outcome */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {import("./protocol.js").ThreadRecord} ThreadRecord */
/** One call of a thread, and the note that was left in it. @typedef {{call: CallRecord, outcome: Outcome, placedAt: number, endedAt: number, talkMs: number, note: Note|null}} ThreadEntry */
/** Newest first; `next` is what `before` takes for the following page. `images`: those among the calls. @typedef {{entries: ThreadEntry[], images: Image[], next: string|null}} ThreadPage */
/** @typedef {{notes: Note[], unheard: number, next: string|null}} InboxPage */
/** @typedef {{before?: string|null, limit?: number}} PageOptions */

/**
 * The states and `heard`, `unheard`, `deleted`, `reacted`, `unreacted`: that happened to the note. `count`: how many wait unheard.
 * @extends {Emitter<Record<NoteEventName, Note> & {count: number}>}
 */
export class Notes extends Emitter {
  /** Whether this server keeps notes at all. */
  available = false;
  /** How many notes this user has not heard. */
  unheard = 0;
  /** @type {Map<string, Note>} */
  #known = new Map();
  #host;
  #images;
  #offered;

  /**
   * Made by `Session`.
   * @param {NoteHost} host
   * @param {import("./images.js").Images} images
   * @param {(note: Note) => void} offered of this user, for a call
   */
  constructor(host, images, offered) {
    super();
    this.#host = host;
    this.#images = images;
    this.#offered = offered;
  }

  /** Those that this user is leaving: offered, being recorded, or drafts. Oldest first. */
  get open() {
    return [...this.#known.values()].filter((note) => note.isOwn && !note.isOver);
  }

  /**
   * The thread of this user and another one, where a call was given none.
   * @param {string} user
   */
  threadWith(user) {
    const escape = (/** @type {string} */ id) => id.replaceAll("%", "%25").replaceAll(":", "%3A");
    const pair = [this.#host.user(), user].sort(byCodePoint).map(escape);
    return `direct:${pair.join(":")}`;
  }

  /**
   * Calls and images of a thread, newest first.
   * @param {string} thread
   * @param {PageOptions} [options]
   * @returns {Promise<ThreadPage>}
   */
  async thread(thread, { before, limit } = {}) {
    const page = await this.#host.http.get(`threads/${encodeURIComponent(thread)}`, { before, limit });
    /** @type {ThreadRecord[]} */
    const records = page.entries;
    const calls = records.filter((record) => record.image === undefined);
    const images = records.flatMap((record) => (record.image ? [this.#images.take(record.image)] : []));
    const entries = calls.map((entry) => ({
      call: entry.call,
      outcome: entry.outcome,
      placedAt: entry.placed_at,
      endedAt: entry.ended_at,
      talkMs: entry.talk_ms,
      note: entry.note && this.#note(entry.note),
    }));
    return { entries, images, next: page.next };
  }

  /**
   * Notes for this user, newest first.
   * @param {PageOptions & {unheardOnly?: boolean}} [options]
   * @returns {Promise<InboxPage>}
   */
  async inbox({ before, limit, unheardOnly = false } = {}) {
    const page = await this.#host.http.get("inbox", { before, limit, unheard: unheardOnly ? true : undefined });
    this.#count(page.unheard);
    return { notes: page.notes.map((/** @type {NoteInfo} */ info) => this.#note(info)), unheard: page.unheard, next: page.next };
  }

  /** @param {NoteInfo} info @param {NoteEventName} [what] */
  #note(info, what) {
    const known = this.#known.get(info.id);
    if (known) {
      known.update(info, what);
      return known;
    }
    const note = new Note(this.#host, info);
    this.#known.set(note.id, note);
    return note;
  }

  /** @param {number|undefined} unheard */
  #count(unheard) {
    if (unheard === undefined || unheard === this.unheard) return;
    this.unheard = unheard;
    this.emit("count", unheard);
  }

  /**
   * What the server says of notes when a connection is up (again).
   * @param {Hello} hello
   * @param {boolean} again whether this page was connected before
   */
  welcomed(hello, again) {
    this.available = hello.notes !== undefined;
    const before = again ? this.open : [];
    const told = hello.notes ?? [];
    for (const info of told) {
      this.#note(info);
      // A take of this device from before the page was loaded: nothing comes from here any more.
      const abandoned = info.state === "countdown" || info.state === "recording";
      const { room } = info;
      if (!again && abandoned && hello.rooms?.some((held) => held.room === room)) {
        this.#host.socket.request("room.leave", { room }).catch(() => {});
      }
    }
    for (const note of before) {
      if (told.some(({ id }) => id === note.id)) continue;
      note.refresh().catch((thrown) => {
        // What nobody knows of any more is over.
        if (asRingbackError(thrown).code === "not_found") note.leave();
      });
    }
    this.#count(hello.unheard);
  }

  /** @param {ServerEvent} event */
  handle(event) {
    const what = /** @type {NoteEventName} */ (event.event.slice("note.".length));
    const info = /** @type {NoteInfo|undefined} */ (event.note);
    if (!info) return;
    const note = this.#note(info, what);
    this.#count(event.unheard);
    if (what === "offered" && note.isOwn) this.#offered(note);
    this.emit(what, /** @type {any} */ (note));
    if (what === "deleted") this.#known.delete(note.id);
  }
}

/** The order of the server: by code points, where JavaScript's own compares halves of them. @param {string} a @param {string} b */
function byCodePoint(a, b) {
  const [left, right] = [[...a], [...b]];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const difference = (left[at]?.codePointAt(0) ?? 0) - (right[at]?.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
