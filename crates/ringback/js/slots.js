/**
 * Receive slots and the players that show them. The server says over signaling whose track flows in a slot from which RTP
 * timestamp on (`room.slots`); the media takes another road and arrives a moment earlier or later. So a label never
 * follows the message but the media: a picture is blanked when its mapping changes and gets its new name only when a frame
 * at or after the announced timestamp is on the screen. The wrong name never stands under a face.
 *
 * Audio slot k and video slot k play in one `<video>` element, a *player*, so that lips stay in sync.
 */
import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").SlotInfo} SlotInfo */
/** @typedef {import("./protocol.js").SlotMapping} SlotMapping */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {{participant: string, source: Source}} Flow whose track */

/**
 * Whether RTP timestamp `a` is at or after `b`, around the 32-bit wrap (RFC 3550 section 5.1).
 * @param {number} a
 * @param {number} b
 */
export function rtpReached(a, b) {
  return ((a - b) | 0) >= 0;
}

/**
 * How long a picture stays blank when a mapping replaces another without a timestamp ("from now on"): more than browsers
 * hold back for smooth playout.
 */
const UNTIMED_BLANK_MS = 1_000;

/** How long a video track waits for the sound of its element to have started; it starts at once where it works at all. */
const SOUND_FIRST_MS = 500;

/** How often a page in the background looks what its receivers play: nobody sees a picture there come a moment later. */
const HIDDEN_FRAME_MS = 200;

/** @param {Flow|null} a @param {Flow|null} b */
function sameFlow(a, b) {
  return a?.participant === b?.participant && a?.source === b?.source;
}

/** One receiving m-line. */
export class Slot {
  /** Whose track has the slot, flowing or not (muted, waiting, hidden). @type {Flow|null} */
  owner = null;
  /** What the server says flows here now. @type {Flow|null} */
  mapped = null;
  /** What is certainly on the screen; null while blank. For audio the same as `mapped`. @type {Flow|null} */
  shown = null;
  /** Why nothing flows: `"muted"`, `"codec"`, `"left"`, `"waiting"`, `"hidden"` … @type {string|null} */
  reason = null;
  /** @type {MediaStreamTrack|null} */
  track = null;
  /** @type {RTCRtpReceiver|null} */
  receiver = null;
  #epoch = -1;
  /** First timestamp of `mapped`. @type {number|null} */
  #from = null;
  /** The last flow that may still be on the screen. @type {Flow|null} */
  #previous = null;
  /** When `mapped` was announced, by `performance.now()`. */
  #since = 0;

  /** @param {SlotInfo} info */
  constructor({ mid, kind, pair }) {
    this.mid = mid;
    this.kind = kind;
    this.pair = pair;
  }

  /**
   * Takes a mapping from the server.
   * @param {SlotMapping} mapping
   * @param {number} now `performance.now()`
   * @returns {boolean} whether anything changed
   */
  map(mapping, now) {
    if (mapping.epoch < this.#epoch) return false;
    this.#epoch = mapping.epoch;
    const { participant, source } = mapping;
    this.owner = participant && source ? { participant, source } : null;
    const flow = mapping.reason ? null : this.owner;
    const stays = flow !== null && sameFlow(flow, this.shown);
    this.reason = mapping.reason;
    if (!stays && this.mapped) this.#previous = this.mapped;
    this.mapped = flow;
    this.#from = mapping.rtp_timestamp;
    this.#since = now;
    if (this.kind === "audio") this.shown = flow;
    else if (!stays) this.shown = null;
    return true;
  }

  /** Whether a frame is awaited before the label may be set. */
  get pending() {
    return this.mapped !== null && this.shown === null;
  }

  /**
   * A frame is on the screen.
   * @param {number|undefined} rtpTimestamp
   * @param {number} now `performance.now()`
   * @returns {boolean} whether the label was set by it
   */
  frame(rtpTimestamp, now) {
    if (!this.pending) return false;
    if (this.#from === null) {
      // Without a timestamp any frame will do, unless it may be the predecessor's.
      const mistakable = this.#previous !== null && !sameFlow(this.#previous, this.mapped);
      if (mistakable && now - this.#since < UNTIMED_BLANK_MS) return false;
    } else if (rtpTimestamp === undefined || !rtpReached(rtpTimestamp, this.#from)) {
      return false;
    }
    this.shown = this.mapped;
    this.#previous = null;
    return true;
  }
}

/** The `<video>` element of a pair of slots (or of a single slot without a partner). */
class Player {
  element = document.createElement("video");
  stream = new MediaStream();
  /** @type {Slot|null} */
  audio = null;
  /** @type {Slot|null} */
  video = null;
  #watching = false;
  #sounding = false;
  #onFrame;

  /** @param {() => void} onFrame a frame set a label @param {() => void} onBlocked the browser wants a gesture first */
  constructor(onFrame, onBlocked) {
    this.#onFrame = onFrame;
    this.onBlocked = onBlocked;
    this.element.autoplay = true;
    this.element.playsInline = true;
    this.element.className = "ringback-player";
    this.element.style.opacity = "0";
    this.element.addEventListener("loadeddata", () => this.#sounds());
  }

  play() {
    this.element.play().catch((error) => {
      if (error.name === "NotAllowedError") this.onBlocked();
    });
  }

  #sounds() {
    if (this.#sounding) return;
    this.#sounding = true;
    this.refresh();
  }

  /**
   * Puts into the element what there is to play. A `<video>` that starts with a video track stays silent until the first
   * frame, which may never come; one that has started with sound goes on. So sound is first, and the video track joins
   * when a mapping says that frames will come.
   */
  refresh() {
    const audio = this.audio?.track;
    const video = this.video?.mapped && (this.#sounding || !this.audio) ? this.video.track : null;
    for (const track of [audio, video]) {
      if (track && !this.stream.getTracks().includes(track)) this.stream.addTrack(track);
    }
    if (!this.element.srcObject && this.stream.getTracks().length > 0) {
      this.element.srcObject = this.stream;
      this.play();
      setTimeout(() => this.#sounds(), SOUND_FIRST_MS);
    }
    this.element.style.opacity = this.video?.shown ? "1" : "0";
    this.#watch();
  }

  /** Follows the frames while a label waits for one. */
  #watch() {
    const slot = this.video;
    if (this.#watching || !slot?.pending || !slot.track) return;
    this.#watching = true;
    let seen = false;
    /** @param {number|undefined} rtpTimestamp */
    const frame = (rtpTimestamp) => {
      if (seen) return;
      seen = true;
      clearInterval(hidden);
      this.#watching = false;
      const set = slot.frame(rtpTimestamp ?? latestTimestamp(slot.receiver), performance.now());
      if (set) {
        this.element.style.opacity = "1";
        this.#onFrame();
      }
      this.#watch();
    };
    // A page in the background draws nothing and is told of no frame, but its pictures may be seen: in picture-in-picture.
    const hidden = setInterval(() => document.hidden && frame(undefined), HIDDEN_FRAME_MS);
    if ("requestVideoFrameCallback" in this.element) {
      this.element.requestVideoFrameCallback((_now, metadata) => frame(metadata.rtpTimestamp));
    } else {
      requestAnimationFrame(() => frame(undefined));
    }
  }

  close() {
    this.element.srcObject = null;
    this.element.remove();
  }
}

/**
 * What the receiver plays now: for browsers whose frame metadata lacks the timestamp.
 * @param {RTCRtpReceiver|null} receiver
 */
function latestTimestamp(receiver) {
  return receiver?.getSynchronizationSources()[0]?.rtpTimestamp;
}

/**
 * All slots of a room. `label`: a picture got its name or lost it, or a mapping changed. `blocked`: the browser wants a
 * gesture before it plays sound.
 * @extends {Emitter<{label: undefined, blocked: undefined}>}
 */
export class SlotBoard extends Emitter {
  /** mid → slot. @type {Map<string, Slot>} */
  slots = new Map();
  /** @type {Map<string, Player>} */
  #players = new Map();
  /** Tracks that came before their slots were known. @type {Map<string, {track: MediaStreamTrack, receiver: RTCRtpReceiver}>} */
  #tracks = new Map();
  /** Whose pictures are held for how long. @type {Map<string, number>} */
  #patience = new Map();
  #leastPatience = 0;
  /** @type {string|undefined} */
  #speaker;

  /**
   * Takes the slots of an answer.
   * @param {SlotInfo[]} infos
   */
  announce(infos) {
    for (const info of infos) {
      if (this.slots.has(info.mid)) continue;
      const slot = new Slot(info);
      this.slots.set(info.mid, slot);
      const player = this.#player(info);
      player[info.kind] = slot;
      const early = this.#tracks.get(info.mid);
      if (early) this.attach({ mid: info.mid, ...early });
    }
  }

  /** @param {SlotInfo} info */
  #player({ mid, pair }) {
    const key = pair === null || pair === undefined ? `mid ${mid}` : `pair ${pair}`;
    let player = this.#players.get(key);
    if (!player) {
      player = new Player(
        () => this.emit("label", undefined),
        () => this.emit("blocked", undefined),
      );
      this.#players.set(key, player);
      this.#route(player);
    }
    return player;
  }

  /** @param {{mid: string, track: MediaStreamTrack, receiver: RTCRtpReceiver}} received */
  attach({ mid, track, receiver }) {
    const slot = this.slots.get(mid);
    if (!slot) {
      this.#tracks.set(mid, { track, receiver });
      return;
    }
    slot.track = track;
    slot.receiver = receiver;
    this.#playerOf(slot)?.refresh();
  }

  /** @param {SlotMapping[]} mappings */
  map(mappings) {
    for (const mapping of mappings) {
      const slot = this.slots.get(mapping.mid);
      if (slot?.map(mapping, performance.now())) this.#playerOf(slot)?.refresh();
      if (slot) this.#wait(slot);
    }
    this.emit("label", undefined);
  }

  /**
   * Holds somebody's pictures for so many milliseconds before they are shown; 0: no longer than the browser likes.
   * @param {string} participant
   * @param {number} patience
   */
  hold(participant, patience) {
    this.#patience.set(participant, patience);
    for (const slot of this.slots.values()) this.#wait(slot);
  }

  /** Somebody shows no more pictures. @param {string} participant */
  forget(participant) {
    this.#patience.delete(participant);
    for (const slot of this.slots.values()) this.#wait(slot);
  }

  /**
   * Holds everybody's pictures for at least so long.
   * @param {number} patience
   */
  holdAll(patience) {
    this.#leastPatience = patience;
    for (const slot of this.slots.values()) this.#wait(slot);
  }

  /** @param {Slot} slot */
  #wait({ kind, owner, receiver }) {
    // Not every browser has it; those without show what comes.
    if (kind !== "video" || !receiver || !("jitterBufferTarget" in receiver)) return;
    const target = Math.max(this.#patience.get(owner?.participant ?? "") ?? 0, this.#leastPatience) || null;
    if (receiver.jitterBufferTarget !== target) receiver.jitterBufferTarget = target;
  }

  /** @param {Slot} slot */
  #playerOf(slot) {
    return this.players().find((player) => player.audio === slot || player.video === slot);
  }

  players() {
    return [...this.#players.values()];
  }

  /**
   * The slot in which a track flows, or is about to.
   * @param {string} participant
   * @param {Source} source
   */
  find(participant, source) {
    return [...this.slots.values()].find((slot) => sameFlow(slot.mapped, { participant, source }));
  }

  /** Plays again what the browser had held back; call it from a gesture. */
  play() {
    for (const player of this.players()) player.play();
  }

  /**
   * Where to play sound; not every browser lets a page choose.
   * @param {string} deviceId
   */
  setSpeaker(deviceId) {
    this.#speaker = deviceId;
    for (const player of this.players()) this.#route(player);
  }

  /** @param {Player} player */
  #route({ element }) {
    if (this.#speaker !== undefined && "setSinkId" in element) element.setSinkId(this.#speaker).catch(() => {});
  }

  /** Forgets everything, for a fresh connection or none. */
  reset() {
    for (const player of this.players()) player.close();
    this.#players.clear();
    this.#tracks.clear();
    this.#patience.clear();
    this.#leastPatience = 0;
    this.slots.clear();
  }
}
