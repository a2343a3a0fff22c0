/**
 * One call as this device sees it, whoever placed it: its state, what can be done with it now, how it ended. Its room is
 * made at once, so that the transport is ready before anybody answers.
 */
import { Emitter } from "./emitter.js";
import { RingbackError, asRingbackError } from "./errors.js";
import { Room } from "./room.js";

/** @typedef {import("./protocol.js").CallKind} CallKind */
/** @typedef {import("./note.js").Note} Note */
/** @typedef {import("./protocol.js").CallRecord} CallRecord */
/** @typedef {import("./protocol.js").Leg} Leg */
/** @typedef {import("./protocol.js").Outcome} Outcome */
/** @typedef {import("./protocol.js").Party} Party */
/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */
/**
 * `placing`: on its way to the server. `ringing`: at theirs or at ours. `active`: answered. `ended`: see `outcome`.
 * @typedef {"placing"|"ringing"|"active"|"ended"} CallState
 * @typedef {Outcome|"answered_elsewhere"|"declined_elsewhere"|"ignored"|"superseded"|"called_back"|"left"|"removed"} EndReason
 */

/** How long the server's word that the call is over is waited for after hanging up. */
const END_TIMEOUT_MS = 2_000;
/** How long the microphone stays open for a note that was announced and not offered: the embedder's hook may be slow. */
const OFFER_TIMEOUT_MS = 20_000;

/**
 * `state`: changed, see the property. `leg`: somebody's device rings, declined, … (caller only; in a group everybody in it).
 * `members`: who is in a group call, or its host, changed. `knock`: to the host; somebody asks to be let in. `note`: nobody
 * answered, and the caller may leave a note; the room stays open for it.
 * @extends {Emitter<{state: CallState, leg: Leg, members: undefined, knock: {user: string, name: string}, note: Note}>}
 */
export class Call extends Emitter {
  /** @type {string|undefined} */
  id;
  /** @type {CallState} */
  state = "placing";
  /** @type {Leg[]} */
  legs = [];
  /** Whether it was placed to, or has come to include, more than two. */
  group = false;
  /** Users who are in it now, the longest there first; the caller alone while it rings. @type {string[]} */
  members = [];
  /** Whether we came into it late, again, or let in, and did not place it nor were rung by it. */
  entered = false;
  /** Who may let in, mute, take out, and end it for all. @type {string} */
  host = "";
  /** How the call ended. @type {Outcome|undefined} */
  outcome;
  /** How it ended for this device. @type {EndReason|undefined} */
  reason;
  /** What went wrong, where something did. @type {RingbackError|undefined} */
  error;
  /** Who ended it. @type {string|undefined} */
  by;
  /** How long it was active, in milliseconds. */
  talkMs = 0;
  /** `performance.now()` of the answer. @type {number|undefined} */
  activeAt;
  /** The thread it belongs to, once known. @type {string|undefined} */
  thread;
  /** Whether the room outlives the call, since a note may be left. */
  roomKept = false;
  /** Whether it answers, too late, a call of theirs that had ended. */
  callsBack = false;
  /** The note that may be left, where nobody answered. @type {Note|undefined} */
  note;
  /** When it stops ringing, Unix milliseconds by this device's clock. @type {number|undefined} */
  expiresAt;
  /** The room in which its media meets. @readonly @type {Room} */
  room;
  /** Placing is under way. @type {Promise<void>|undefined} */
  #placed;
  #socket;
  #callBack;
  /** Our own user id. */
  #me;

  /**
   * Made by `Session`.
   * @param {SignalingSocket} socket
   * @param {{direction: "outgoing"|"incoming", kind: CallKind, from: Party, to: Party[], me?: string, room?: {iceServers?: RTCIceServer[], iceTransportPolicy?: RTCIceTransportPolicy, slots?: number}, callBack?: (record: CallRecord) => Call}} what `callBack` makes the call that a late answer places
   */
  constructor(socket, { direction, kind, from, to, me, room, callBack }) {
    super();
    this.#socket = socket;
    this.#callBack = callBack;
    this.#me = me;
    this.direction = direction;
    this.kind = kind;
    this.from = from;
    this.to = to;
    this.room = new Room(socket, room);
    this.room.on("closed", (reason) => {
      // The server closed the room under us. `call.ended` says why; without it the call is over all the same.
      if (reason === "left") return;
      setTimeout(() => this.settle(this.state === "active" ? "answered" : "failed", "failed"), END_TIMEOUT_MS);
    });
  }

  /** The other side: the caller, or the first of those called. */
  get peer() {
    return this.direction === "incoming" ? this.from : (this.to[0] ?? { user: "" });
  }

  /**
   * Places the call and joins its room while it rings. A failure ends the call with `error`.
   * @param {{thread?: string}} [options]
   */
  place({ thread } = {}) {
    const fields = { to: this.to.map(({ user }) => user), kind: this.kind, ...(thread && { thread }) };
    this.#placed = (async () => {
      try {
        // The request first: the server rings while the offer is made here.
        const placed = this.#socket.request("call.place", fields);
        const preparing = this.room.prepare();
        preparing.catch(() => {});
        this.update((await placed).call);
        await preparing;
        await this.#join();
      } catch (thrown) {
        if (this.isOver) this.room.leave();
        else this.fail(asRingbackError(thrown));
      }
    })();
    return this.#placed;
  }

  /** Goes on with a call that the server has placed already, for a late answer. @param {CallRecord} record */
  async placed(record) {
    this.callsBack = true;
    this.update(record);
    try {
      await this.#join();
    } catch (thrown) {
      if (!this.isOver) this.fail(asRingbackError(thrown));
    }
  }

  async #join() {
    // A call that was declined at once may still have its room, for a note.
    if (this.room.state !== "closed") await this.room.join(/** @type {string} */ (this.room.id));
  }

  get isOver() {
    return this.state === "ended";
  }

  /**
   * Comes into a group call that is active: late, again after leaving it, or let in by its host.
   * @param {string} id
   */
  async enter(id) {
    this.entered = true;
    try {
      const { call } = await this.#socket.request("call.accept", { call: id });
      this.kind = call.kind;
      this.update(call);
      if (!this.isOver) await this.room.join(call.room);
    } catch (thrown) {
      if (!this.isOver) this.fail(asRingbackError(thrown));
    }
  }

  /**
   * Answers an incoming call.
   * @returns {Promise<Call>} this call; or, where it had just ended while its caller still leaves a note, an outgoing one
   * that rings the caller back
   */
  async accept() {
    this.#expect("incoming", "ringing");
    try {
      const { call } = await this.#socket.request("call.accept", { call: this.id });
      if (call.id !== this.id && this.#callBack) {
        this.settle("no_answer", "called_back");
        return this.#callBack(call);
      }
      this.update(call);
      if (!this.isOver) await this.room.join(call.room);
      return this;
    } catch (thrown) {
      const error = asRingbackError(thrown);
      // It ended under the finger; the event that says how is on its way or was here already.
      if (this.isOver) return this;
      this.fail(error);
      throw error;
    }
  }

  /** Declines an incoming call, for all of the user's devices. @param {{reason?: "busy"}} [options] */
  async decline({ reason } = {}) {
    this.#expect("incoming", "ringing");
    await this.#end("call.decline", { ...(reason && { reason }) }, "declined", "declined");
  }

  /** Silences an incoming call on this device; others go on ringing. */
  async ignore() {
    this.#expect("incoming", "ringing");
    await this.#end("call.ignore", {}, undefined, "ignored");
  }

  /** Takes an outgoing call back while it rings. */
  async cancel() {
    if (this.state === "placing") await this.#placed;
    if (this.isOver) return;
    // It may have been answered a moment ago.
    if (this.state === "active") return this.hangup();
    this.#expect("outgoing", "ringing");
    try {
      await this.#end("call.cancel", {}, "cancelled", "cancelled");
    } catch (thrown) {
      if (asRingbackError(thrown).code !== "conflict") throw thrown;
      await this.#end("call.hangup", {}, "answered", "answered");
    }
  }

  /** Ends an active call. */
  async hangup() {
    if (this.state !== "active") throw new RingbackError("conflict", `cannot hang up while ${this.state}`);
    await this.#end("call.hangup", {}, "answered", "answered");
  }

  /** Rings more people; a call of two becomes a group call. @param {string[]} users */
  async invite(users) {
    const { call } = await this.#socket.request("call.invite", { call: this.id, to: users });
    this.update(call);
  }

  /** As the host: answers a `knock`. @param {string} user @param {boolean} admitted */
  async admit(user, admitted) {
    await this.#socket.request("call.admit", { call: this.id, user, admitted });
  }

  /** As the host: takes somebody out of a group call; they come back only where they are invited again. @param {string} user */
  async remove(user) {
    await this.#socket.request("call.remove", { call: this.id, user });
  }

  /**
   * As the host: mutes somebody, who may unmute themselves.
   * @param {string} user
   * @param {import("./protocol.js").Source} [source]
   */
  async mute(user, source = "microphone") {
    await this.#socket.request("call.mute", { call: this.id, user, source });
  }

  /** As the host: ends a group call for everybody. */
  async endForAll() {
    if (this.state !== "active") throw new RingbackError("conflict", `cannot end it for all while ${this.state}`);
    await this.#end("call.end", {}, "answered", "answered");
  }

  /** Ends the call in whatever way its state asks for: one's own part in it, where it is a group's. */
  async end() {
    if (this.isOver) return;
    if (this.state === "active") return this.hangup();
    return this.direction === "incoming" ? this.decline() : this.cancel();
  }

  /**
   * @param {string} type
   * @param {Record<string, unknown>} fields
   * @param {Outcome|undefined} outcome
   * @param {EndReason} reason
   */
  async #end(type, fields, outcome, reason) {
    const asked = this.#socket.request(type, { call: this.id, ...fields });
    if (this.#socket.state !== "open") {
      // The server hears of it when it is back; nobody should have to wait for that to hang up.
      asked.catch(() => {});
      return this.settle(outcome, reason);
    }
    try {
      await asked;
    } catch (thrown) {
      const { code } = asRingbackError(thrown);
      if (code === "conflict") throw thrown;
      // Gone there, or nobody to tell: then it is over here, too.
      this.settle(outcome, reason);
      if (code !== "not_found") throw thrown;
      return;
    }
    if (type === "call.ignore") return this.settle(outcome, reason);
    // `call.ended` brings the outcome; without it the call is over all the same.
    const timer = setTimeout(() => this.settle(outcome, reason), END_TIMEOUT_MS);
    const off = this.on("state", () => {
      clearTimeout(timer);
      off();
    });
  }

  /**
   * Takes the server's picture of the call.
   * @param {CallRecord} record
   */
  update(record) {
    if (this.isOver) return;
    this.id = record.id;
    this.kind = record.kind;
    this.thread = record.thread;
    this.to = record.to.length > 0 ? record.to : this.to;
    this.legs = record.legs;
    this.group = record.group ?? false;
    this.host = record.host ?? record.from.user;
    const members = (record.members ?? []).map(({ user }) => user);
    const changed = members.join("\n") !== this.members.join("\n");
    this.members = members;
    this.from = record.from;
    this.room.id = record.room;
    // A group may be talking already while it rings here.
    const ringsHere = this.direction === "incoming" && this.group && !members.includes(this.#me ?? "");
    if (record.state === "active" && !ringsHere) this.activate();
    else if (record.state !== "ended") this.#setState("ringing");
    else this.settle(record.outcome, record.outcome ?? "failed");
    if (changed && !this.isOver) this.emit("members", undefined);
  }

  /** @param {Leg} leg */
  updateLeg(leg) {
    const at = this.legs.findIndex(({ user, device }) => user === leg.user && device === leg.device);
    if (at < 0) this.legs.push(leg);
    else this.legs[at] = leg;
    this.emit("leg", leg);
  }

  /** It was answered. */
  activate() {
    this.activeAt ??= performance.now();
    this.#setState("active");
  }

  /** @param {RingbackError} error */
  fail(error) {
    this.error = error;
    this.settle("failed", "failed");
  }

  /**
   * It is over; only the first word counts.
   * @param {Outcome|undefined} outcome
   * @param {EndReason} reason
   * @param {{talkMs?: number, by?: string, roomKept?: boolean}} [more]
   */
  settle(outcome, reason, { talkMs, by, roomKept = false } = {}) {
    if (this.isOver) return;
    this.outcome = outcome;
    this.reason = reason;
    this.by = by;
    this.talkMs = talkMs ?? (this.activeAt === undefined ? 0 : performance.now() - this.activeAt);
    this.roomKept = roomKept && this.room.state !== "closed";
    this.#setState("ended");
    if (!this.roomKept) return this.room.leave({ tell: false });
    const timer = setTimeout(() => this.note ?? this.room.leave(), OFFER_TIMEOUT_MS);
    this.room.on("closed", () => {
      clearTimeout(timer);
      this.roomKept = false;
    });
  }

  /** Somebody asks to be let in. @param {{user: string, name: string}} who */
  knocked(who) {
    this.emit("knock", who);
  }

  /** Nobody answered, and a note may be left. @param {Note} note */
  offer(note) {
    if (this.note) return;
    this.note = note;
    if (this.roomKept) note.keep(this.room);
    this.emit("note", note);
  }

  /**
   * @param {"outgoing"|"incoming"} direction
   * @param {CallState} state
   */
  #expect(direction, state) {
    if (this.direction === direction && this.state === state) return;
    throw new RingbackError("conflict", `this ${this.direction} call is ${this.state}, not ${direction} and ${state}`);
  }

  /** @param {CallState} state */
  #setState(state) {
    if (this.state === state || this.isOver) return;
    this.state = state;
    this.emit("state", state);
  }
}
