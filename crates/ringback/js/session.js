/**
 * A user's live session on this device: who is there, calls in and out, rooms, and staying connected. It routes the
 * server's events to the call and room they concern.
 */
import { Call } from "./call.js";
import { Emitter } from "./emitter.js";
import { asRingbackError } from "./errors.js";
import { Http } from "./http.js";
import { Images } from "./images.js";
import { Notes } from "./notes.js";
import { Notifications } from "./notifications.js";
import { GONE, Room } from "./room.js";
import { SignalingSocket } from "./socket.js";

/** @typedef {import("./errors.js").RingbackError} RingbackError */
/** @typedef {import("./protocol.js").CallKind} CallKind */
/** @typedef {import("./protocol.js").CallRecord} CallRecord */
/** @typedef {import("./protocol.js").Hello} Hello */
/** @typedef {import("./protocol.js").Person} Person */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {import("./socket.js").SocketState} SocketState */

/** @typedef {import("./note.js").Note} Note */
/**
 * @typedef {object} SessionOptions
 * @property {string} url of the WebSocket, e.g. `/v1/ws`
 * @property {import("./socket.js").TokenSource} token
 * @property {string} [device] stable id of this device; a newer session of the same device replaces this one
 * @property {number} [slots] receive slots of each kind
 * @property {RTCIceTransportPolicy} [iceTransportPolicy] `"relay"`: media goes over a TURN server only; without one there is none
 */

/**
 * `state`: of the connection to the server. `people`: as the property. `incoming`: it rings here. `admitted`: the host's
 * answer to a knock. `fatal`: the session is over and why.
 * @extends {Emitter<{state: SocketState, people: Person[], incoming: Call, admitted: {call: string, admitted: boolean}, fatal: RingbackError}>}
 */
export class Session extends Emitter {
  /** Who has a live session, without ourselves. @type {Person[]} */
  people = [];
  /** Calls that are not over. @type {Set<Call>} */
  calls = new Set();
  /** Images on request, in threads of ours. @readonly @type {Images} */
  images;
  /** What callers left where nobody picked up, ours and for us. @readonly @type {Notes} */
  notes;
  /** What this user is told, and how they want it. @readonly @type {Notifications} */
  notifications;
  user = "";
  name = "";
  device = "";
  #socket;
  #slots;
  #iceTransportPolicy;
  /** @type {RTCIceServer[]} */
  #iceServers = [];
  /** Rooms without a call that goes on: joined by their id, or kept for a note. @type {Set<Room>} */
  #rooms = new Set();
  /** Rooms of which we are told who is in them. @type {Map<string, Set<(presence: import("./protocol.js").Presence) => void>>} */
  #watchers = new Map();
  /** Our own call that was missed last: a note may be offered for it. @type {Call|undefined} */
  #unanswered;

  /** Use `Ringback.connect`. @param {SessionOptions} options */
  constructor({ url, token, device, slots, iceTransportPolicy }) {
    super();
    this.#slots = slots;
    this.#iceTransportPolicy = iceTransportPolicy;
    this.#socket = new SignalingSocket(url, token, device);
    const http = new Http(this.#socket);
    this.notifications = new Notifications(http, this.#socket);
    const makeRoom = () => this.#own(new Room(this.#socket, this.#roomOptions()));
    const host = { socket: this.#socket, http, user: () => this.user, makeRoom };
    this.images = new Images({ http, socket: this.#socket, user: host.user });
    this.notes = new Notes(host, this.images, (note) => {
      if (this.#unanswered?.id === note.call) this.#unanswered.offer(note);
    });
    this.#socket.on("state", (state) => this.emit("state", state));
    this.#socket.on("hello", (hello) => this.#welcomed(hello));
    this.#socket.on("event", (event) => this.#handle(event));
    this.#socket.on("fatal", (error) => {
      for (const call of [...this.calls]) call.fail(error);
      for (const room of [...this.#rooms]) room.leave();
      this.emit("fatal", error);
    });
  }

  /** @returns {SocketState} */
  get state() {
    return this.#socket.state;
  }

  /** Use `Ringback.connect`. */
  async open() {
    await this.#socket.open();
  }

  /** Ends the session. Calls end with it. */
  close() {
    this.#socket.close();
  }

  /**
   * Rings somebody. The call is there at once, to show and to cancel; what goes wrong ends it with `call.error`.
   * @param {string|string[]} user
   * @param {{kind?: CallKind, thread?: string}} [options]
   * @returns {Call}
   */
  call(user, { kind = "voice", thread } = {}) {
    const users = Array.isArray(user) ? user : [user];
    const to = users.map((id) => ({ user: id, name: this.people.find((person) => person.user === id)?.name }));
    const from = { user: this.user, name: this.name };
    const call = this.#keep(new Call(this.#socket, { direction: "outgoing", kind, from, to, room: this.#roomOptions() }));
    call.place({ thread });
    return call;
  }

  /**
   * Comes into a group call that is going on and concerns us: late, or again after leaving it.
   * @param {string} id
   * @param {{kind?: CallKind}} [options]
   * @returns {Call} a failure ends it with `call.error`
   */
  rejoin(id, { kind = "video" } = {}) {
    const me = { user: this.user, name: this.name };
    const what = { direction: /** @type {const} */ ("outgoing"), kind, from: me, to: [], room: this.#roomOptions() };
    const call = this.#keep(new Call(this.#socket, what));
    call.id = id;
    void call.enter(id);
    return call;
  }

  /**
   * Asks the host of a call to be let in, for who has a link to it.
   * @param {string} id
   * @returns {Promise<boolean>} whether we were; then `rejoin` it
   */
  knock(id) {
    return new Promise((resolve, reject) => {
      const off = this.on("admitted", ({ call, admitted }) => {
        if (call !== id) return;
        off();
        resolve(admitted);
      });
      this.#socket.request("call.knock", { call: id }).catch((thrown) => {
        off();
        reject(thrown);
      });
    });
  }

  /**
   * Who is in a room, without going in: at once, and whenever it changes.
   * @param {string} room
   * @param {(presence: import("./protocol.js").Presence) => void} show
   * @returns {() => void} stops it
   */
  watch(room, show) {
    const watchers = this.#watchers.get(room) ?? new Set();
    watchers.add(show);
    this.#watchers.set(room, watchers);
    void this.#watch(room);
    return () => {
      watchers.delete(show);
      if (watchers.size > 0) return;
      this.#watchers.delete(room);
      this.#socket.request("room.watch", { room, on: false }).catch(() => {});
    };
  }

  /** @param {string} room */
  async #watch(room) {
    try {
      const presence = await this.#socket.request("room.watch", { room });
      this.#watchers.get(room)?.forEach((show) => show(presence));
    } catch {
      // Not ours to see: then nobody is shown.
    }
  }

  /**
   * Joins a room that nobody rang.
   * @param {string} id
   * @returns {Room} joining; a failure closes it, with `room.error`
   */
  join(id) {
    const room = this.#own(new Room(this.#socket, this.#roomOptions()));
    room.join(id).catch((thrown) => {
      room.error = asRingbackError(thrown);
      room.leave();
    });
    return room;
  }

  /** @param {Room} room */
  #own(room) {
    this.#rooms.add(room);
    room.on("closed", () => this.#rooms.delete(room));
    return room;
  }

  #roomOptions() {
    return { iceServers: this.#iceServers, iceTransportPolicy: this.#iceTransportPolicy, slots: this.#slots };
  }

  /** @param {Call} call */
  #keep(call) {
    this.calls.add(call);
    call.on("state", () => {
      if (call.isOver) this.calls.delete(call);
      // Answered or not: some of a group may have missed it.
      if (call.isOver && call.direction === "outgoing" && (call.activeAt === undefined || call.roomKept)) this.#unanswered = call;
      if (call.roomKept) this.#own(call.room);
      // Both rang each other at once: the server made one call of it, and ours is the one that goes on.
      if (call.direction === "outgoing" && call.id) {
        for (const other of [...this.calls]) {
          if (other !== call && other.id === call.id) other.settle(undefined, "superseded");
        }
      }
    });
    return call;
  }

  /** @param {Hello} hello */
  #welcomed(hello) {
    const again = this.user !== "";
    this.user = hello.user;
    this.name = hello.name;
    this.device = hello.device;
    this.#iceServers = hello.ice_servers;
    this.#setPeople(hello.people);
    this.notes.welcomed(hello, again);
    if (again) this.#reconcile(hello.calls, hello.resumed);
    for (const room of this.#watchers.keys()) if (again) void this.#watch(room);
    for (const record of hello.calls) {
      const isMember = record.members?.some(({ user }) => user === this.user) ?? record.from.user === this.user;
      if (record.state !== "ended" && !isMember) this.#incoming(record, undefined);
    }
  }

  /**
   * After a reconnection: what went on without us, and what ended meanwhile. Where the server goes on where it stopped, the events
   * that follow say how.
   * @param {CallRecord[]} records
   * @param {boolean} resumed
   */
  #reconcile(records, resumed) {
    for (const call of [...this.calls]) {
      if (call.id === undefined) continue;
      const record = records.find(({ id }) => id === call.id);
      if (record) {
        call.update(record);
        // A transport that is up has not noticed, and needs no help.
        if (call.room.me && !(resumed && call.room.state === "connected")) call.room.restart().catch(() => {});
      } else if (!resumed) {
        void this.#lookUp(call);
      }
    }
    for (const room of this.#rooms) {
      if (resumed && room.state === "connected") continue;
      room.restart().catch((thrown) => {
        if (GONE.has(asRingbackError(thrown).code)) room.leave({ tell: false });
      });
    }
  }

  /** What became of a call while nobody could tell us. @param {Call} call */
  async #lookUp(call) {
    const asked = this.#socket.request("call.status", { call: call.id });
    const { call: record } = await asked.catch(() => ({ call: undefined }));
    if (record?.state === "ended") call.update(record);
    else call.settle(call.state === "active" ? "answered" : "failed", "failed");
  }

  /** @param {Person[]} people */
  #setPeople(people) {
    this.people = people;
    this.emit("people", people);
  }

  /**
   * @param {Person[]} changed
   * @param {string[]} gone
   */
  #peopleChanged(changed, gone) {
    const old = new Set([...gone, ...changed.map(({ user }) => user)]);
    const others = changed.filter(({ user }) => user !== this.user);
    this.#setPeople([...this.people.filter(({ user }) => !old.has(user)), ...others]);
  }

  /** @param {string} id */
  #find(id) {
    return [...this.calls].find((call) => call.id === id);
  }

  /**
   * @param {CallRecord} record
   * @param {number|undefined} expiresMs
   */
  #incoming(record, expiresMs) {
    const { id, kind, from, to, ring_ms: ringMs } = record;
    if (this.#find(id)) return;
    const callBack = (/** @type {CallRecord} */ placed) => this.#placed(placed);
    const what = { direction: /** @type {const} */ ("incoming"), kind, from, to, me: this.user, room: this.#roomOptions(), callBack };
    const call = new Call(this.#socket, what);
    call.expiresAt = Date.now() + (expiresMs ?? ringMs);
    call.update(record);
    this.#keep(call);
    this.emit("incoming", call);
    if (call.state === "ringing") this.#socket.request("call.ring_ack", { call: id }).catch(() => {});
    // While it rings, so that accepting is two round trips and nothing else.
    call.room.prepare().catch(() => {});
  }

  /**
   * A call of ours that the server has placed for us.
   * @param {CallRecord} record
   */
  #placed(record) {
    const { kind, from, to } = record;
    const call = this.#keep(new Call(this.#socket, { direction: "outgoing", kind, from, to, room: this.#roomOptions() }));
    void call.placed(record);
    return call;
  }

  /** @param {ServerEvent} event */
  #handle(event) {
    if (event.event.startsWith("image.")) return this.images.handle(event);
    if (event.event.startsWith("note.")) return this.notes.handle(event);
    if (event.event.startsWith("notification")) return this.notifications.handle(event);
    if (event.event === "room.presence") {
      return this.#watchers.get(event.room)?.forEach((show) => show({ count: event.count, people: event.people }));
    }
    if (event.event.startsWith("room.") || event.event === "reaction") {
      for (const room of [...[...this.calls].map((call) => call.room), ...this.#rooms]) {
        if (room.id === event.room) room.handle(event);
      }
      return;
    }
    switch (event.event) {
      case "people":
        return this.#setPeople(event.people);
      case "people.changed":
        return this.#peopleChanged(event.people, event.gone);
      case "call.incoming":
        return this.#incoming(event.call, event.expires_ms);
      case "call.leg":
        return this.#find(event.call)?.updateLeg(event.leg);
      case "call.knock":
        return this.#find(event.call)?.knocked({ user: event.user, name: event.name });
      case "call.admitted":
        return this.emit("admitted", { call: event.call, admitted: event.admitted });
      case "call.changed":
        return this.#find(event.call.id)?.update(event.call);
      case "call.active":
        return this.#find(event.call.id)?.update(event.call);
      case "call.ended":
        return this.#find(event.call.id)?.settle(event.outcome, event.reason, {
          // Where the call goes on without us, only we know how long we were in it.
          talkMs: event.reason === "left" || event.reason === "removed" ? undefined : event.talk_ms,
          by: event.by,
          roomKept: event.room_kept,
        });
    }
  }
}
