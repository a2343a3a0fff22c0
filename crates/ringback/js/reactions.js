/**
 * Reactions, raised hands and statuses of a room (docs/reactions.md): over two data channels where there are any, over signaling
 * otherwise. It counts what floats up and keeps the queue of hands; how they look is the page's.
 *
 * ```js
 * room.reactions.react("🎉");
 * room.reactions.raiseHand();
 * room.reactions.on("reactions", ({ counts }) => counts.forEach(({ reaction, count }) => float(reaction, count)));
 * room.reactions.on("hands", () => render(room.reactions.hands));
 * ```
 */
import { Emitter } from "./emitter.js";
import { RingbackError, asRingbackError } from "./errors.js";

/** @typedef {import("./connection.js").MediaConnection} MediaConnection */
/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */
/** @typedef {{participant: string, name: string, reaction: string, count: number}} NamedReaction */
/** @typedef {{counts: {reaction: string, count: number}[], by: NamedReaction[], all: boolean}} Burst */
/** @typedef {{participant: string, name: string, place: number}} Hand */
/** @typedef {{code: string, message: string, retryAfterMs: number|undefined}} Refused */
/** @typedef {{v: number, type: string, [field: string]: any}} Message */

const VERSION = 1;
/** A data channel opens within a round trip or two of the transport; a path that blocks SCTP never opens it. */
const CHANNEL_WAIT_MS = 4_000;

/**
 * `reactions`: what is new since the last of these; `all` says whether `by` names everyone. `hands`, `statuses`, `controls`: as the
 * properties. `refused`: something of ours was not taken, and when to try again.
 * @extends {Emitter<{reactions: Burst, hands: undefined, statuses: undefined, controls: undefined, refused: Refused}>}
 */
export class Reactions extends Emitter {
  /** Raised hands, first come first. @type {Hand[]} */
  hands = [];
  /** By participant. @type {Map<string, {name: string, status: string}>} */
  statuses = new Map();
  /** What is on. @type {"all"|"hands"|"off"} */
  mode = "all";
  /** For whom. @type {"everyone"|"hosts"} */
  who = "everyone";
  /** What we may do ourselves. */
  can = { react: true, hand: true, host: false };
  #socket;
  #room;
  /** @type {RTCDataChannel|undefined} */
  #taps;
  /** @type {RTCDataChannel|undefined} */
  #hands;
  /** The counters as last heard of. @type {Map<string, number>} */
  #known = new Map();
  #tick = 0;
  /** @type {number|undefined} */
  #revision;
  #syncing = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #wait;

  /**
   * @param {SignalingSocket} socket
   * @param {() => string|undefined} room the room's id, once joined
   */
  constructor(socket, room) {
    super();
    this.#socket = socket;
    this.#room = room;
  }

  /** Puts the channels on a connection that has not offered yet. @param {MediaConnection} connection */
  attach(connection) {
    this.close();
    this.#known.clear();
    this.#tick = 0;
    const taps = connection.peer.createDataChannel("reactions", { ordered: false, maxRetransmits: 0 });
    const hands = connection.peer.createDataChannel("hands");
    for (const channel of [taps, hands]) {
      channel.addEventListener("message", ({ data }) => this.#text(data));
    }
    hands.addEventListener("open", () => this.#sync());
    this.#taps = taps;
    this.#hands = hands;
  }

  /** The room has let us in. Without a channel after a while, signaling carries everything. */
  joined() {
    clearTimeout(this.#wait);
    this.#wait = setTimeout(() => {
      if (this.#hands?.readyState !== "open") this.#sync();
    }, CHANNEL_WAIT_MS);
  }

  close() {
    clearTimeout(this.#wait);
    this.#taps = undefined;
    this.#hands = undefined;
    this.#revision = undefined;
    this.#syncing = false;
  }

  /** Whether data channels carry reactions now. */
  get direct() {
    return this.#hands?.readyState === "open" && this.#taps?.readyState === "open";
  }

  /** Reacts. @param {string} reaction an emoji, or `:id:` of the embedder's own */
  react(reaction) {
    this.#send({ type: "react", r: reaction }, this.#taps);
  }

  /** Raises our hand, or lowers it. @param {boolean} [up] */
  raiseHand(up = true) {
    this.#send({ type: "hand", up });
  }

  /** Sets our status, or clears it. @param {string|null} status */
  setStatus(status) {
    this.#send({ type: "status", status });
  }

  /** As a host: lowers somebody's hand, or everyone's. @param {string} [participant] */
  lower(participant) {
    this.#send({ type: "lower", ...(participant && { p: participant }) });
  }

  /** As a host: clears somebody's status, or everyone's. @param {string} [participant] */
  clear(participant) {
    this.#send({ type: "clear", ...(participant && { p: participant }) });
  }

  /** As a host: what is on, and for whom. @param {{mode?: "all"|"hands"|"off", who?: "everyone"|"hosts"}} controls */
  control(controls) {
    this.#send({ type: "control", ...controls });
  }

  /** As a host: what somebody may do. @param {string} participant @param {{react?: boolean, hand?: boolean}} may */
  allow(participant, may) {
    this.#send({ type: "may", p: participant, ...may });
  }

  /** @param {string} participant */
  isRaised(participant) {
    return this.hands.some((hand) => hand.participant === participant);
  }

  /**
   * @param {Omit<Message, "v">} message
   * @param {RTCDataChannel} [channel]
   */
  #send(message, channel = this.#hands) {
    if (channel?.readyState === "open") {
      channel.send(JSON.stringify({ v: VERSION, ...message }));
      return;
    }
    const room = this.#room();
    if (!room) return;
    this.#socket.request("reaction.send", { room, message: { v: VERSION, ...message } }).catch((thrown) => {
      const { code, message: text, retryAfterMs } = /** @type {RingbackError & {retryAfterMs?: number}} */ (asRingbackError(thrown));
      this.emit("refused", { code, message: text, retryAfterMs });
    });
  }

  #sync() {
    if (this.#syncing) return;
    this.#syncing = true;
    this.#send({ type: "sync" });
    // Refused or lost: the next gap asks again.
    setTimeout(() => (this.#syncing = false), 2_000);
  }

  /** @param {unknown} data */
  #text(data) {
    if (typeof data !== "string") return;
    try {
      this.receive(JSON.parse(data));
    } catch {
      // A newer server may say things that we do not understand.
    }
  }

  /** A message of the server, from whichever way. @param {Message} message */
  receive(message) {
    if (message.v !== VERSION) return;
    switch (message.type) {
      case "tick":
        return this.#count(message);
      case "snapshot":
      case "hands":
        return this.#sticky(message);
      case "can": {
        const { react, hand, host } = message;
        this.can = { react, hand, host };
        return this.emit("controls", undefined);
      }
      case "refused":
        return this.emit("refused", { code: message.code, message: message.message, retryAfterMs: message.retry_after_ms });
    }
  }

  /** @param {Message} message */
  #count({ n, counts, by, all }) {
    const fresh = [];
    for (const [reaction, total, before] of counts) {
      const known = this.#known.get(reaction) ?? before;
      if (total > known) fresh.push({ reaction, count: total - known });
      this.#known.set(reaction, Math.max(total, known));
    }
    const named = [];
    for (const [tick, participant, name, reaction, count] of by) {
      if (tick > this.#tick) named.push({ participant, name, reaction, count });
    }
    this.#tick = Math.max(n, this.#tick);
    if (fresh.length > 0) this.emit("reactions", { counts: fresh, by: named, all });
  }

  /** @param {Message} message */
  #sticky({ type, rev, people, mode, who, n, can }) {
    if (type === "snapshot") {
      this.#syncing = false;
      this.hands = [];
      this.statuses.clear();
      // The room began anew, and its counters with it.
      if (n < this.#tick) this.#known.clear();
      this.#tick = n;
      this.can = can;
    } else if (this.#revision === undefined || rev < this.#revision) {
      return;
    } else if (rev > this.#revision + 1) {
      return this.#sync();
    }
    this.#revision = rev;
    for (const { p, name, hand, status } of people) {
      this.hands = this.hands.filter(({ participant }) => participant !== p);
      if (hand !== undefined) this.hands.push({ participant: p, name, place: hand });
      if (status === undefined) this.statuses.delete(p);
      else this.statuses.set(p, { name, status });
    }
    this.hands.sort((a, b) => a.place - b.place);
    const changed = mode !== this.mode || who !== this.who || type === "snapshot";
    this.mode = mode;
    this.who = who;
    this.emit("hands", undefined);
    this.emit("statuses", undefined);
    if (changed) this.emit("controls", undefined);
  }
}
