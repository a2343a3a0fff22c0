/**
 * This device's microphone, camera and screen: which ones, switched on or off, and what went wrong in plain words. It
 * feeds any number of rooms (`attach`), so that a page can open the microphone before there is a call.
 */
import { Emitter } from "./emitter.js";
import { RingbackError } from "./errors.js";

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./room.js").Room} Room */
/** @typedef {{deviceId: string, label: string}} Device */

/** Echo cancellation, because laptops have speakers; the rest keeps voices level. */
const VOICE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** What the largest simulcast layer carries. */
const PICTURE = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };

/**
 * `track`: a source has another track, or none. `devices`: the lists changed.
 * @extends {Emitter<{track: {source: Source, track: MediaStreamTrack|null}, devices: undefined}>}
 */
export class LocalMedia extends Emitter {
  /** @type {Record<Source, MediaStreamTrack|null>} */
  tracks = { microphone: null, camera: null, screen: null };
  /** The chosen devices; undefined is the browser's default. @type {{microphone?: string, camera?: string}} */
  chosen = {};
  /** One opening at a time for each source, but for those that a closing has made void. @type {Map<Source, {generation: number, track: Promise<MediaStreamTrack>}>} */
  #opening = new Map();
  /** Counts up when a source is closed, so that an opening under way is not kept. */
  #closed = { microphone: 0, camera: 0, screen: 0 };

  constructor() {
    super();
    globalThis.navigator?.mediaDevices?.addEventListener?.("devicechange", () => this.emit("devices", undefined));
  }

  /** Whether this page may ask for devices at all: browsers give none to plain http. */
  static get available() {
    return Boolean(globalThis.isSecureContext && globalThis.navigator?.mediaDevices);
  }

  /**
   * Opens a source, or hands back the open one.
   * @param {Source} source
   * @returns {Promise<MediaStreamTrack>}
   * @throws {RingbackError} `insecure_context`, `permission_denied`, `no_device`, `device_busy`, `device_failed`
   */
  open(source) {
    const track = this.tracks[source];
    if (track && track.readyState === "live") return Promise.resolve(track);
    const generation = this.#closed[source];
    const under = this.#opening.get(source);
    if (under?.generation === generation) return under.track;
    const opening = {
      generation,
      track: this.#capture(source).finally(() => {
        if (this.#opening.get(source) === opening) this.#opening.delete(source);
      }),
    };
    this.#opening.set(source, opening);
    return opening.track;
  }

  /** @param {Source} source */
  async #capture(source) {
    if (!LocalMedia.available) {
      throw new RingbackError("insecure_context", "Browsers give the microphone and camera only to https pages.");
    }
    const generation = this.#closed[source];
    let stream;
    try {
      stream = source === "screen" ? await captureScreen() : await this.#captureDevice(source);
    } catch (thrown) {
      throw deviceError(source, thrown);
    }
    const track = stream.getTracks()[0];
    if (!track || generation !== this.#closed[source]) {
      track?.stop();
      throw new RingbackError("closed", `the ${source} was closed again before it had opened`);
    }
    if (source === "screen") track.contentHint = "detail";
    // Ends by itself when a device is unplugged or the browser's "stop sharing" is pressed.
    track.addEventListener("ended", () => {
      if (this.tracks[source] === track) this.#set(source, null);
    });
    this.#set(source, track);
    return track;
  }

  /** @param {"microphone"|"camera"} source */
  async #captureDevice(source) {
    const deviceId = this.chosen[source];
    const which = source === "microphone" ? { audio: VOICE } : { video: PICTURE };
    if (deviceId !== undefined) {
      const exact = Object.fromEntries(
        Object.entries(which).map(([kind, wish]) => [kind, { ...wish, deviceId: { exact: deviceId } }]),
      );
      try {
        return await navigator.mediaDevices.getUserMedia(exact);
      } catch (thrown) {
        // The chosen one may be unplugged: any other is better than none.
        if (!(thrown instanceof DOMException) || thrown.name !== "OverconstrainedError") throw thrown;
      }
    }
    return navigator.mediaDevices.getUserMedia(which);
  }

  /**
   * Closes a source and lets go of its device.
   * @param {Source} source
   */
  close(source) {
    this.#closed[source]++;
    const track = this.tracks[source];
    track?.stop();
    if (track) this.#set(source, null);
  }

  closeAll() {
    for (const source of /** @type {Source[]} */ (Object.keys(this.tracks))) this.close(source);
  }

  /** Opens a source anew: where the system took its device and did not give it back. @param {"microphone"|"camera"} source */
  reopen(source) {
    return this.choose(source, this.chosen[source]);
  }

  /**
   * Uses another device from now on; an open source changes over at once.
   * @param {"microphone"|"camera"} source
   * @param {string|undefined} deviceId
   */
  async choose(source, deviceId) {
    this.chosen[source] = deviceId;
    const old = this.tracks[source];
    if (!old) return;
    // The old track goes first: many cameras cannot be opened twice, and phones open only one.
    old.stop();
    this.tracks[source] = null;
    try {
      await this.open(source);
    } catch (error) {
      this.emit("track", { source, track: null });
      throw error;
    }
  }

  /**
   * The devices there are. Their names are empty until a permission was given.
   * @returns {Promise<{microphones: Device[], cameras: Device[], speakers: Device[]}>}
   */
  async devices() {
    const all = LocalMedia.available ? await navigator.mediaDevices.enumerateDevices() : [];
    /** @param {MediaDeviceKind} kind */
    const of = (kind) =>
      all
        .filter((device) => device.kind === kind && device.deviceId !== "")
        .map(({ deviceId, label }) => ({ deviceId, label }));
    return { microphones: of("audioinput"), cameras: of("videoinput"), speakers: of("audiooutput") };
  }

  /**
   * Publishes the open sources in `room` and follows their changes.
   * @param {Room} room
   * @returns {() => void} lets go of the room
   */
  attach(room) {
    for (const source of /** @type {Source[]} */ (Object.keys(this.tracks))) {
      if (this.tracks[source]) room.publish(source, this.tracks[source]);
    }
    return this.on("track", ({ source, track }) => room.publish(source, track));
  }

  /**
   * @param {Source} source
   * @param {MediaStreamTrack|null} track
   */
  #set(source, track) {
    this.tracks[source] = track;
    this.emit("track", { source, track });
    if (track) this.emit("devices", undefined);
  }
}

function captureScreen() {
  return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
}

/**
 * @param {Source} source
 * @param {unknown} thrown
 * @returns {RingbackError}
 */
function deviceError(source, thrown) {
  const name = thrown instanceof DOMException ? thrown.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return new RingbackError("permission_denied", `The browser was not allowed to use the ${source}.`, { cause: thrown });
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new RingbackError("no_device", `No ${source} was found.`, { cause: thrown });
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return new RingbackError("device_busy", `Another program is using the ${source}.`, { cause: thrown });
  }
  return new RingbackError("device_failed", `The ${source} could not be opened: ${thrown}`, { cause: thrown });
}
