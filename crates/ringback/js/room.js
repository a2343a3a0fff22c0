/**
 * A room as one of its participants: join with one offer, who is there, who speaks, mute, screen, and a transport that is
 * repaired by ICE restarts and, where that does not help, by joining again.
 */
import { MediaConnection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { RingbackError, asRingbackError } from "./errors.js";
import { LossRepair } from "./loss-repair.js";
import { Participant } from "./participant.js";
import { Reactions } from "./reactions.js";
import { SlotBoard } from "./slots.js";
import { TileBoard } from "./tiles.js";

/** @typedef {import("./protocol.js").Focus} Focus */
/** @typedef {import("./protocol.js").JoinAnswer} JoinAnswer */
/** @typedef {import("./protocol.js").ParticipantRecord} ParticipantRecord */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {import("./protocol.js").SlotView} SlotView */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").TrackClaim} TrackClaim */
/** @typedef {import("./socket.js").SignalingSocket} SignalingSocket */
/** @typedef {"new"|"connecting"|"connected"|"reconnecting"|"closed"} RoomState */

/** @type {Source[]} */
const SOURCES = ["microphone", "camera", "screen"];

/** A blip of Wi-Fi heals by itself within this time; a restart then would only cost. */
const RESTART_AFTER_MS = 1_500;
/** Between restarts, growing: the network may be away for a while. */
const RESTART_FIRST_MS = 2_000;
const RESTART_LIMIT_MS = 15_000;
/** What the server answers where a room is no longer there for us. @type {Set<string>} */
export const GONE = new Set(["not_found", "forbidden", "conflict"]);
/** An offer is answered at once; more means that the server is in trouble. */
const JOIN_TIMEOUT_MS = 15_000;

/**
 * `state`: of the transport. `participants`: somebody came, went or changed. `speaking`, `stage` and `focus`: as their properties.
 * `label`: a picture got its name or lost it. `muted`: one of our own sources. `hushed`: the host has muted it. `interrupted`: the system has taken one of them, or
 * given it back: for a phone call, or since the page went to the background. `blocked`: the browser wants a gesture before
 * it plays sound (`room.play()`). `quality`: of somebody's connection, or ours (`room.me`). `closed`: over, and why.
 * @extends {Emitter<{state: RoomState, participants: undefined, speaking: Set<string>, stage: string|null, focus: Focus|null, label: undefined, muted: {source: Source, muted: boolean}, hushed: Source, interrupted: {source: Source, interrupted: boolean}, quality: string, blocked: undefined, closed: string}>}
 */
export class Room extends Emitter {
  /** What went wrong, where joining failed. @type {RingbackError|undefined} */
  error;
  /** The room's id, once known. @type {string|undefined} */
  id;
  /** Our own participant id, once joined. @type {string|undefined} */
  me;
  /** @type {RoomState} */
  state = "new";
  /** Everyone else, in order of arrival. @type {Map<string, Participant>} */
  participants = new Map();
  /** Ids of all who speak now, ourselves included. @type {Set<string>} */
  speaking = new Set();
  /** Whom to highlight. @type {string|null} */
  stage = null;
  /** What to look at: a pin before a shared screen before whoever is on the stage, never ourselves. @type {Focus|null} */
  focus = null;
  /** How good our own connection is; undefined until the server has measured it. @type {import("./protocol.js").Quality|undefined} */
  quality;
  /** @readonly */
  slots = new SlotBoard();
  // A connection that fails meanwhile is repaired as always.
  #losses = new LossRepair(this.slots, (repeats) => this.connection?.repeatVoice(repeats).catch(() => {}));
  /** Emoji, hands and statuses. @readonly @type {Reactions} */
  reactions;
  /** @type {MediaConnection|undefined} */
  connection;
  #socket;
  #options;
  #tiles;
  /** @type {Record<Source, MediaStreamTrack|null>} */
  #tracks = { microphone: null, camera: null, screen: null };
  /** What the user wants muted. @type {Set<Source>} */
  #muted = new Set();
  /** What the server believes. @type {Map<Source, boolean>} */
  #claimed = new Map();
  /** @type {Promise<string>|undefined} */
  #offer;
  /** Events that came before the join's answer. @type {ServerEvent[]} */
  #early = [];
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #restart;
  #restarts = 0;
  /** @type {Promise<void>|undefined} */
  #repair;
  /** Has been in the room, and is to come back to it. */
  #joined = false;
  #networkChanged = () => this.#scheduleRestart(0);
  /** Phones pause what plays in a page that is not on the screen. */
  #shown = () => !document.hidden && this.play();
  /** Ends listening to a source's track. @type {Partial<Record<Source, () => void>>} */
  #unfollow = {};

  /**
   * @param {SignalingSocket} socket
   * @param {{iceServers?: RTCIceServer[], iceTransportPolicy?: RTCIceTransportPolicy, slots?: number}} [options]
   */
  constructor(socket, options = {}) {
    super();
    this.#socket = socket;
    this.#options = options;
    this.reactions = new Reactions(socket, () => (this.me ? this.id : undefined));
    this.#tiles = new TileBoard(this.slots, (view) => this.setView(view).catch(() => {}));
    this.slots.on("label", () => this.emit("label", undefined));
    this.slots.on("blocked", () => this.emit("blocked", undefined));
  }

  /** The RTCPeerConnection, for statistics. */
  get peer() {
    return this.connection?.peer;
  }

  /**
   * Gets the offer ready while the phone still rings, so that joining is one round trip. Safe to call twice.
   * @returns {Promise<void>}
   */
  async prepare() {
    if (this.state === "closed") throw new RingbackError("closed", "the room was left");
    if (this.#offer) return void (await this.#offer);
    const connection = new MediaConnection(this.#options);
    this.connection = connection;
    connection.on("state", (state) => {
      if (this.connection === connection) this.#transportChanged(state);
    });
    connection.on("track", (received) => this.slots.attach(received));
    for (const source of SOURCES) void connection.send(source, this.#tracks[source]);
    this.reactions.attach(connection);
    this.#offer = connection.offer();
    await this.#offer;
  }

  /**
   * Joins with what was published so far; more can be published at any time.
   * @param {string} id
   * @returns {Promise<void>} when the answer is installed; `state` says when media flows
   */
  async join(id) {
    this.id = id;
    await this.prepare();
    const { connection } = this;
    const offer = await this.#offer;
    if (!connection || this.state === "closed") throw new RingbackError("closed", "the room was left");
    this.#setState(this.state === "new" ? "connecting" : this.state);
    const tracks = this.#claims();
    /** @type {JoinAnswer} */
    const answer = await this.#socket.request("room.join", { room: id, offer, tracks }, { timeoutMs: JOIN_TIMEOUT_MS });
    // Between here and the end of this block nothing is awaited: the next event must find the room joined.
    this.me = answer.participant;
    this.#joined = true;
    this.participants.clear();
    this.#losses.everybodys(false);
    this.#roster({ joined: answer.roster });
    this.#setSpeaking(answer.speaking);
    this.#setStage(answer.stage);
    this.slots.announce(answer.slots);
    const early = this.#early.splice(0);
    for (const event of early) this.handle(event);
    this.#claim();
    this.reactions.joined();

    if (connection.peer.signalingState === "closed") return;
    await connection.answered(answer.answer);
    addEventListener("online", this.#networkChanged);
    globalThis.document?.addEventListener("visibilitychange", this.#shown);
    this.#tiles.report({ again: true });
  }

  /**
   * When media flows.
   * @param {number} timeoutMs
   * @returns {Promise<void>}
   * @throws {RingbackError} `timeout`; `closed`
   */
  connected(timeoutMs) {
    return new Promise((resolve, reject) => {
      const check = () => {
        if (this.state === "connected") return done(resolve);
        if (this.state === "closed") done(() => reject(new RingbackError("closed", "the room was left")));
      };
      /** @param {() => void} settle */
      const done = (settle) => {
        clearTimeout(timer);
        off();
        settle();
      };
      const late = new RingbackError("timeout", `no media connection within ${timeoutMs} ms`);
      const timer = setTimeout(() => done(() => reject(late)), timeoutMs);
      const off = this.on("state", check);
      check();
    });
  }

  /** Leaves, and tells the server where the room goes on without us. @param {{tell?: boolean}} [options] */
  leave({ tell = true } = {}) {
    if (tell && this.id && this.me && this.#socket.state !== "closed") {
      this.#socket.request("room.leave", { room: this.id }).catch(() => {});
    }
    this.#close("left");
  }

  /** @param {string} reason */
  #close(reason) {
    if (this.state === "closed") return;
    clearTimeout(this.#restart);
    removeEventListener("online", this.#networkChanged);
    globalThis.document?.removeEventListener("visibilitychange", this.#shown);
    for (const unfollow of Object.values(this.#unfollow)) unfollow();
    this.#tiles.close();
    this.slots.reset();
    this.reactions.close();
    this.#setState("closed");
    this.connection?.close();
    this.emit("closed", reason);
  }

  /**
   * Sends `track` as `source` from now on; null stops it. Nothing is renegotiated.
   * @param {Source} source
   * @param {MediaStreamTrack|null} track
   */
  async publish(source, track) {
    this.#tracks[source] = track;
    this.#follow(source, track);
    if (track) track.enabled = !this.#muted.has(source);
    // Announce first what ends and last what begins: nobody then looks at a frozen or black picture.
    if (!track) this.#claim();
    await this.connection?.send(source, track);
    this.#claim();
    this.emit("muted", { source, muted: this.isMuted(source) });
  }

  /**
   * Notices when the system takes a device away for a while, so that nobody looks at a frozen picture.
   * @param {Source} source
   * @param {MediaStreamTrack|null} track
   */
  #follow(source, track) {
    this.#unfollow[source]?.();
    delete this.#unfollow[source];
    // A shared window that is minimised is silent as well; its last picture is better than none.
    if (!track || source === "screen") return;
    const changed = () => {
      this.#claim();
      this.emit("muted", { source, muted: this.isMuted(source) });
      this.emit("interrupted", { source, interrupted: track.muted });
    };
    for (const what of ["mute", "unmute"]) track.addEventListener(what, changed);
    this.#unfollow[source] = () => {
      for (const what of ["mute", "unmute"]) track.removeEventListener(what, changed);
    };
  }

  /** The camera by another name, for `replaceTrack` between devices. @param {MediaStreamTrack|null} track */
  setCamera(track) {
    return this.publish("camera", track);
  }

  /**
   * Mutes or unmutes one of our own sources, here and for everyone.
   * @param {Source} source
   * @param {boolean} [muted]
   */
  mute(source, muted = true) {
    if (muted) this.#muted.add(source);
    else this.#muted.delete(source);
    const track = this.#tracks[source];
    if (track) track.enabled = !muted;
    this.#claim();
    this.emit("muted", { source, muted: this.isMuted(source) });
  }

  /** Whether nothing of `source` is sent: muted, no track, or taken by the system. @param {Source} source */
  isMuted(source) {
    const track = this.#tracks[source];
    return this.#muted.has(source) || track === null || (source !== "screen" && track.muted);
  }

  /** @returns {TrackClaim[]} */
  #claims() {
    /** @type {TrackClaim[]} */
    const claims = [];
    for (const source of SOURCES) {
      const mid = this.connection?.mid(source);
      if (mid === null || mid === undefined) continue;
      const muted = this.isMuted(source);
      this.#claimed.set(source, muted);
      claims.push({ mid, source, muted });
    }
    return claims;
  }

  /** Tells the server what changed since it was last told. */
  #claim() {
    if (!this.me || this.state === "closed") return;
    for (const source of SOURCES) {
      const muted = this.isMuted(source);
      if (this.#claimed.get(source) === muted) continue;
      this.#claimed.set(source, muted);
      this.#socket.request("room.mute", { room: this.id, source, muted }).catch(() => this.#claimed.delete(source));
    }
  }

  /**
   * Shows a participant's camera or screen in `element` whenever there is a picture; `data-video="live"` says so. Its size
   * is what the server chooses the layer by.
   * @param {string} participant
   * @param {HTMLElement} element
   * @param {Source} [source]
   * @returns {() => void} takes the tile away
   */
  tile(participant, element, source = "camera") {
    return this.#tiles.add(participant, source, element);
  }

  /**
   * Tells the server how large the pictures are; `tile` does this by itself.
   * @param {SlotView[]} view
   */
  async setView(view) {
    if (!this.me || this.state === "closed") return;
    await this.#socket.request("room.view", { room: this.id, view });
  }

  /** Keeps somebody in sight, or nobody in particular. @param {string|null} participant */
  async pin(participant) {
    await this.#socket.request("room.pin", { room: this.id, participant });
  }

  /** Plays what the browser held back; call it from a gesture (`blocked`). */
  play() {
    this.slots.play();
  }

  /** @param {string} deviceId */
  setSpeaker(deviceId) {
    this.slots.setSpeaker(deviceId);
  }

  /**
   * An event of the server for this room.
   * @param {ServerEvent} event
   */
  handle(event) {
    if (this.state === "closed") return;
    if (!this.me) {
      this.#early.push(event);
      return;
    }
    switch (event.event) {
      case "room.roster":
        return this.#roster(/** @type {Record<string, any>} */ (event));
      case "room.slots":
        return this.slots.map(event.slots);
      case "room.speaking":
        return this.#setSpeaking(event.speaking);
      case "room.stage":
        return this.#setStage(event.participant);
      case "room.focus":
        this.focus = event.focus;
        return this.emit("focus", this.focus);
      case "room.layers":
        return void this.connection?.sendLayers(event.source, event.wanted, event.spatial);
      case "room.muted":
        // The host has muted us; the server knows already.
        this.#claimed.set(event.source, true);
        this.mute(event.source);
        return this.emit("hushed", event.source);
      case "room.quality":
        return this.#measured(/** @type {any} */ (event));
      case "room.losses":
        return this.#losses.everybodys(event.lossy);
      case "room.connected":
        return this.#isConnected(event.participant);
      case "reaction":
        return this.reactions.receive(event.message);
      case "room.closed":
        return this.#close(event.reason);
    }
  }

  /** @param {{joined?: ParticipantRecord[], left?: string[], changed?: ParticipantRecord[]}} delta */
  #roster({ joined = [], left = [], changed = [] }) {
    for (const id of left) {
      this.participants.delete(id);
      this.#losses.left(id);
    }
    for (const record of [...joined, ...changed]) {
      if (record.participant === this.me) continue;
      const known = this.participants.get(record.participant);
      if (known) known.update(record);
      else this.participants.set(record.participant, new Participant(record, this));
    }
    this.emit("participants", undefined);
  }

  /** @param {import("./protocol.js").Quality & {participant: string}} quality */
  #measured({ participant: id, level, round_trip_ms, loss_up, loss_down, jitter_ms }) {
    const quality = { level, round_trip_ms, loss_up, loss_down, jitter_ms };
    const participant = this.participants.get(id);
    if (participant) {
      participant.quality = level;
      this.#losses.theirs(id, quality);
    } else if (id === this.me) {
      this.quality = quality;
      this.#losses.ours(quality);
    } else {
      return;
    }
    this.emit("quality", id);
  }

  /** @param {string} id */
  #isConnected(id) {
    const participant = this.participants.get(id);
    if (!participant) return;
    participant.connected = true;
    this.emit("participants", undefined);
  }

  /** @param {string[]} ids */
  #setSpeaking(ids) {
    this.speaking = new Set(ids);
    this.emit("speaking", this.speaking);
  }

  /** @param {string|null} id */
  #setStage(id) {
    this.stage = id;
    this.emit("stage", id);
  }

  /** @param {RoomState} state */
  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }

  /** @param {import("./connection.js").TransportState} state */
  #transportChanged(state) {
    if (this.state === "closed") return;
    if (state === "connected" && this.connection?.state === "connected") {
      clearTimeout(this.#restart);
      this.#restart = undefined;
      this.#restarts = 0;
      this.#setState("connected");
    } else if (state === "disconnected") {
      this.#setState("reconnecting");
      this.#scheduleRestart(RESTART_AFTER_MS);
    } else if (state === "failed") {
      this.#setState("reconnecting");
      this.#scheduleRestart(0);
    }
  }

  /** @param {number} delayMs */
  #scheduleRestart(delayMs) {
    if (!this.#joined || this.state === "closed" || this.#restart !== undefined) return;
    this.#restart = setTimeout(async () => {
      await this.restart().catch(() => {});
      this.#restart = undefined;
      // Still down? Another try, later each time; `connected` stops the series.
      if (this.connection?.state !== "connected") {
        this.#scheduleRestart(Math.min(RESTART_LIMIT_MS, RESTART_FIRST_MS * 2 ** this.#restarts++));
      }
    }, delayMs);
  }

  /**
   * Repairs the transport: an ICE restart, or a fresh join where the server no longer knows us.
   * @returns {Promise<void>}
   */
  restart() {
    this.#repair ??= this.#restartOrRejoin()
      .catch((thrown) => {
        // No transport is left that could fail, and so ask for another try.
        if (!GONE.has(asRingbackError(thrown).code)) this.#scheduleRestart(RESTART_FIRST_MS);
        throw thrown;
      })
      .finally(() => {
        this.#repair = undefined;
      });
    return this.#repair;
  }

  async #restartOrRejoin() {
    const { connection } = this;
    if (!connection || !this.id || this.state === "closed") return;
    try {
      const offer = await connection.offer({ iceRestart: true });
      const fields = { room: this.id, offer, tracks: this.#claims() };
      const { answer, slots } = await this.#socket.request("room.offer", fields, { timeoutMs: JOIN_TIMEOUT_MS });
      this.slots.announce(slots);
      await connection.answered(answer);
    } catch (thrown) {
      const { code } = asRingbackError(thrown);
      // No answer yet is no reason to throw away a connection that may come back.
      if (code === "timeout" || code === "disconnected" || code === "closed" || code === "rate_limited") throw thrown;
      await this.#rejoin(this.id);
    }
  }

  /** @param {string} id */
  async #rejoin(id) {
    this.connection?.close();
    this.connection = undefined;
    this.quality = undefined;
    this.#offer = undefined;
    this.me = undefined;
    this.slots.reset();
    this.#setState("reconnecting");
    await this.join(id);
  }
}
