/**
 * One note: a message that a caller leaves where nobody picked up. One object for as long as the session lasts, whoever
 * left it: its state follows the server's events, and what may be done with it are its methods.
 *
 * For the caller: `record`, `stop`, then listen (`url`), `record` again, `send` or `discard`. For a recipient: `markHeard`
 * once it was really heard, `markUnheard`, `delete`. For both: `react`.
 */
import { Emitter } from "./emitter.js";
import { RingbackError } from "./errors.js";
import { RecordedTake } from "./recorded-take.js";

/** @typedef {import("./http.js").Http} Http */
/** @typedef {import("./protocol.js").NoteInfo} NoteInfo */
/** @typedef {import("./protocol.js").NoteEventName} NoteEventName */
/** @typedef {import("./protocol.js").NoteKind} NoteKind */
/** @typedef {import("./protocol.js").NoteReason} NoteReason */
/** @typedef {import("./protocol.js").NoteState} NoteState */
/** @typedef {import("./room.js").Room} Room */
/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */
/** @typedef {{user: string, heardAt: number|null}} Recipient */
/** What somebody says to a note, and since when (Unix milliseconds). @typedef {import("./protocol.js").Reaction} NoteReaction */
/**
 * What a note needs of its session.
 * @typedef {{socket: SignalingSocket, http: Http, user: () => string, makeRoom: () => Room}} NoteHost
 */

/** A room joined for a take is connected in far less, or something is in the way. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Links hold for an hour; one that old is asked for anew, with time left to listen. */
const LINK_AGE_MS = 50 * 60_000;

/**
 * `change`: something about it is new; the detail is what the server called it. `room`: `room` is another, or none.
 * @extends {Emitter<{change: NoteEventName, room: Room|undefined}>}
 */
export class Note extends Emitter {
  id;
  /** The call that nobody answered. */
  call;
  thread;
  /** @type {NoteKind} */
  kind;
  /** @type {NoteState} */
  state = "offered";
  from;
  /** Whom it is for, and when each of them heard it (Unix milliseconds). @type {Recipient[]} */
  to = [];
  /** What those whom it concerns say to it, one each, oldest first. @type {NoteReaction[]} */
  reactions = [];
  /** Unix milliseconds, as are the next two. */
  createdAt = 0;
  /** @type {number|null} */
  sentAt = null;
  /** When the offer or the draft ends by itself. @type {number|null} */
  expiresAt = null;
  /** The longest take. */
  maxMs = 0;
  countdownMs = 0;
  /** Counts the takes begun. */
  take = 0;
  /** Why the last take ended by itself, or was no good. @type {NoteReason|null} */
  reason = null;
  durationMs = 0;
  size = 0;
  /** @type {string|null} */
  contentType = null;
  /** The waveform, each 0 to 255. @type {number[]} */
  peaks = [];
  /** Of the picture. @type {number|null} */
  width = null;
  /** @type {number|null} */
  height = null;
  /** The file, for the caller from the draft on and for recipients once it is sent. The link holds for an hour: `link()`. @type {string|null} */
  url = null;
  /** @type {string|null} */
  posterUrl = null;
  /** `performance.now()` when it came into its state: what a countdown or a recording counts from. */
  stateSince = performance.now();
  /** Where this device's microphone and camera are while it leaves the note. @type {Room|undefined} */
  room;
  /** Whether it was taken away. */
  deleted = false;
  #host;
  /** The server's id of the room in which a take is possible. @type {string|null} */
  #roomId = null;
  /** Counts the server's words, so that an answer that was overtaken by an event is not taken for news. */
  #words = 0;
  #linkedAt = 0;
  /** The take that this device records by itself. @type {RecordedTake|undefined} */
  #here;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #hereEnds;
  /** Whether what this device recorded by itself is on its way, and nothing more is recorded. */
  isUploading = false;
  /** A room of our own making is to be joined before a take. @type {Promise<void>|undefined} */
  #joined;
  #made = false;

  /**
   * Made by `Notes`.
   * @param {NoteHost} host
   * @param {NoteInfo} info
   */
  constructor(host, info) {
    super();
    this.#host = host;
    this.id = info.id;
    this.call = info.call;
    this.thread = info.thread;
    this.kind = info.kind;
    this.from = info.from;
    this.#take(info);
  }

  /** Whether this user leaves it. */
  get isOwn() {
    return this.from.user === this.#host.user();
  }

  /** Whether it is sent, discarded, expired or deleted. */
  get isOver() {
    return this.deleted || this.state === "sent" || this.state === "discarded" || this.state === "expired";
  }

  /** When this user has heard it, Unix milliseconds; the others to whom it went hear it for themselves. */
  get heardAt() {
    return this.to.find(({ user }) => user === this.#host.user())?.heardAt ?? null;
  }

  /** Whether this user has heard it; one's own counts as heard. */
  get isHeard() {
    return this.heardAt !== null || !this.to.some(({ user }) => user === this.#host.user());
  }

  /** Whether there is a take to fall back on. */
  get hasTake() {
    return this.durationMs > 0;
  }

  /** Whether a take can be recorded from here. */
  get canRecord() {
    return this.isOwn && !this.isOver && this.#roomId !== null;
  }

  /**
   * The room in which to publish the microphone (and camera) for a take: the call's, or one that `record` will join.
   * @returns {Room|undefined} undefined where no take is possible any more
   */
  enter() {
    if (!this.canRecord) return undefined;
    if (this.room && this.room.state !== "closed") return this.room;
    const room = this.#host.makeRoom();
    this.#made = true;
    this.#joined = undefined;
    this.#setRoom(room);
    // While the prompt is read, so that recording is two round trips and nothing else.
    room.prepare().catch(() => {});
    return room;
  }

  /** Made by `Notes`: the room of the call, which its media is in already. @param {Room} room */
  keep(room) {
    this.#made = false;
    this.#setRoom(room);
  }

  /** @param {Room} room */
  #setRoom(room) {
    this.room = room;
    room.on("closed", () => {
      if (this.room !== room) return;
      this.room = undefined;
      this.emit("room", undefined);
    });
    this.emit("room", room);
  }

  /**
   * Records: the first take, or another one, while the one before is kept until the new one is good.
   * @param {{skipCountdown?: boolean}} [options]
   */
  async record({ skipCountdown = false } = {}) {
    const room = this.enter();
    if (!room) throw new RingbackError("conflict", "nothing can be recorded any more");
    if (this.#made) await (this.#joined ??= room.join(/** @type {string} */ (this.#roomId)));
    await room.connected(CONNECT_TIMEOUT_MS);
    await this.#ask("note.record", { skip_countdown: skipCountdown });
  }

  /** Whether this device can record by itself, if its media does not reach the server. */
  get canRecordHere() {
    return this.isOwn && !this.isOver && RecordedTake.type(this.kind) !== null;
  }

  /** Whether this device records by itself just now, or sends what it has. */
  get isHere() {
    return this.#here !== undefined;
  }

  /** The share of what this device recorded by itself that has arrived, 0 to 1. */
  get arrived() {
    return this.#here?.arrived ?? 0;
  }

  /**
   * Records on this device, without a media connection; what is recorded goes up as a file. Ends at `stop()`, or by itself when it is as long as
   * a note may be. A page that is closed loses what has not gone up.
   * @param {MediaStreamTrack[]} tracks a microphone, and for a video note a camera
   * @throws {RingbackError} `device_failed` where this browser records nothing that the server takes
   */
  async recordHere(tracks) {
    if (this.#here) return;
    const take = new RecordedTake(this.#host.http, this.id, this.kind, tracks, () => {
      if (this.isUploading) this.emit("change", this.state);
    });
    this.#here = take;
    try {
      await take.start();
    } catch (thrown) {
      this.#here = undefined;
      throw thrown;
    }
    this.#hereEnds = setTimeout(() => void this.stop().catch(() => {}), this.maxMs);
    this.stateSince = performance.now();
    this.emit("change", this.state);
  }

  /** Records no more on this device, and sends the rest. */
  async #stopHere() {
    const take = this.#here;
    if (!take || this.isUploading) return;
    clearTimeout(this.#hereEnds);
    this.isUploading = true;
    const finished = take.finish();
    this.emit("change", this.state);
    try {
      await finished;
    } catch (thrown) {
      // The server waits for nothing any more.
      await this.#ask("note.stop").catch(() => {});
      throw thrown;
    } finally {
      this.#here = undefined;
      this.isUploading = false;
      this.emit("change", this.state);
    }
  }

  /** Begins at once instead of counting down. */
  skip() {
    return this.#ask("note.record", { skip_countdown: true });
  }

  /** Ends the take, or the countdown before it; of one that this device records by itself, resolves once it has gone up. */
  stop() {
    return this.#here ? this.#stopHere() : this.#ask("note.stop");
  }

  send() {
    return this.#ask("note.send");
  }

  /** Gives it up with all takes. */
  discard() {
    return this.#ask("note.discard");
  }

  markHeard() {
    return this.#ask("note.heard");
  }

  markUnheard() {
    return this.#ask("note.unheard");
  }

  /** Who looks at it here. */
  get reader() {
    return this.#host.user();
  }

  /** What this user says to it. */
  get reaction() {
    return this.reactions.find(({ user }) => user === this.#host.user())?.emoji ?? null;
  }

  /**
   * Reacts to it once it is sent, in place of the reaction before.
   * @param {string|null} emoji exactly one, or null to take it back
   */
  react(emoji) {
    return this.#ask("note.react", { emoji });
  }

  /** Takes it away from this user; others keep theirs. */
  delete() {
    return this.#ask("note.delete");
  }

  /** Lets go of microphone and camera. A take under way ends and becomes a draft; a draft stays one. */
  leave() {
    if (this.#here && !this.isOver) this.stop().catch(() => {});
    this.room?.leave();
  }

  /**
   * The file's address, asked for anew where the one at hand is old.
   * @param {{renew?: boolean}} [options] whether it is known not to work any more
   * @returns {Promise<string|null>}
   */
  async link({ renew = false } = {}) {
    if (renew || performance.now() - this.#linkedAt > LINK_AGE_MS) await this.refresh();
    return this.url;
  }

  /** Asks the server how it stands. */
  async refresh() {
    const words = this.#words;
    const { note } = await this.#host.http.get(`notes/${encodeURIComponent(this.id)}`);
    if (words === this.#words) this.update(note);
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} [fields]
   */
  async #ask(type, fields = {}) {
    const words = this.#words;
    const { note } = await this.#host.socket.request(type, { note: this.id, ...fields });
    if (words === this.#words && note && type !== "note.delete") this.update(note);
  }

  /**
   * The server's word on it.
   * @param {NoteInfo} info
   * @param {NoteEventName} [what]
   */
  update(info, what = info.state) {
    this.#words++;
    const before = this.#face();
    this.deleted ||= what === "deleted";
    this.#take(info);
    if (this.isOver) this.#here?.abort();
    // A room that the server no longer has is no place to keep a microphone in.
    const waits = this.state === "offered" || this.state === "draft";
    if (this.isOver || (waits && this.#roomId === null)) this.leave();
    if (before !== this.#face()) this.emit("change", what);
  }

  /** @param {NoteInfo} info */
  #take(info) {
    if (info.state !== this.state || info.take !== this.take) this.stateSince = performance.now();
    this.state = info.state;
    this.to = info.to.map(({ user, heard_at: heardAt }) => ({ user, heardAt }));
    this.reactions = info.reactions ?? [];
    this.createdAt = info.created_at;
    this.sentAt = info.sent_at;
    this.expiresAt = info.expires_at;
    this.maxMs = info.max_ms;
    this.countdownMs = info.countdown_ms;
    this.take = info.take;
    this.reason = info.reason;
    this.durationMs = info.duration_ms;
    this.size = info.size;
    this.contentType = info.content_type;
    this.peaks = info.peaks;
    this.width = info.width;
    this.height = info.height;
    this.#roomId = info.room;
    this.url = info.url && this.#host.http.absolute(info.url);
    this.posterUrl = info.poster_url && this.#host.http.absolute(info.poster_url);
    if (info.url) this.#linkedAt = performance.now();
  }

  /** What somebody who looks at it would see change. */
  #face() {
    const { state, take, reason, to, reactions, size, durationMs, expiresAt, deleted, canRecord } = this;
    return JSON.stringify([state, take, reason, to, reactions, size, durationMs, expiresAt, deleted, canRecord]);
  }
}
