/** Which microphone, camera and speaker: a dialog with a level meter and a preview, and what is remembered of it. */
import { byId, element } from "./dom.js";
import { watchLevel } from "./level.js";
import { showLocal } from "./tile.js";
import { errorText } from "./words.js";

/** @typedef {import("./ringback/ringback.js").LocalMedia} LocalMedia */
/** @typedef {{deviceId: string, label: string}} Device */

const dialog = /** @type {HTMLDialogElement} */ (byId("devices"));
/** @type {HTMLSelectElement} */
const microphones = byId("device-microphone");
/** @type {HTMLSelectElement} */
const cameras = byId("device-camera");
/** @type {HTMLSelectElement} */
const speakers = byId("device-speaker");
const preview = byId("devices-preview");
const tryCamera = byId("devices-camera");

/** @param {string} kind */
const remembered = (kind) => localStorage.getItem(`ringback.${kind}`) || undefined;
/** @param {string} kind @param {string} id */
const remember = (kind, id) => localStorage.setItem(`ringback.${kind}`, id);

export class Devices {
  #media;
  /** Sources opened for this dialog only. @type {Set<"microphone"|"camera">} */
  #borrowed = new Set();
  /** @type {(() => void)|undefined} */
  #stopMeter;
  /** Whether the sources stay open when the dialog closes. */
  inCall = false;

  /**
   * @param {LocalMedia} media
   * @param {(deviceId: string) => void} onSpeaker
   */
  constructor(media, onSpeaker) {
    this.#media = media;
    media.chosen = { microphone: remembered("microphone"), camera: remembered("camera") };
    media.on("devices", () => dialog.open && this.#fill());
    media.on("track", () => dialog.open && this.#show());
    microphones.addEventListener("change", () => this.#choose("microphone", microphones.value));
    cameras.addEventListener("change", () => this.#choose("camera", cameras.value));
    speakers.addEventListener("change", () => {
      remember("speaker", speakers.value);
      onSpeaker(speakers.value);
    });
    tryCamera.addEventListener("click", () => this.#open("camera"));
    dialog.addEventListener("close", () => this.#closed());
    // A click beside the dialog closes it.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }

  /** The remembered speaker, for a new call. */
  get speaker() {
    return remembered("speaker");
  }

  async open() {
    if (dialog.open) return;
    byId("devices-error").textContent = "";
    byId("speaker-field").hidden = !("setSinkId" in HTMLMediaElement.prototype);
    dialog.showModal();
    this.#show();
    await this.#fill();
    if (!this.#media.tracks.microphone && !this.inCall) await this.#open("microphone");
  }

  /** @param {"microphone"|"camera"} source */
  async #open(source) {
    try {
      byId("devices-error").textContent = "";
      if (!this.#media.tracks[source] && !this.inCall) this.#borrowed.add(source);
      await this.#media.open(source);
    } catch (error) {
      byId("devices-error").textContent = errorText(error);
    }
  }

  /** @param {"microphone"|"camera"} source @param {string} id */
  async #choose(source, id) {
    remember(source, id);
    try {
      byId("devices-error").textContent = "";
      await this.#media.choose(source, id || undefined);
    } catch (error) {
      byId("devices-error").textContent = errorText(error);
    }
  }

  async #fill() {
    const lists = await this.#media.devices();
    fillSelect(microphones, lists.microphones, this.#media.chosen.microphone, "microphone");
    fillSelect(cameras, lists.cameras, this.#media.chosen.camera, "camera");
    fillSelect(speakers, lists.speakers, this.speaker, "speaker");
  }

  #show() {
    const { camera, microphone } = this.#media.tracks;
    showLocal(preview, camera);
    tryCamera.hidden = camera !== null || this.inCall;
    this.#stopMeter?.();
    this.#stopMeter = microphone ? meter(microphone) : undefined;
  }

  #closed() {
    this.#stopMeter?.();
    this.#stopMeter = undefined;
    showLocal(preview, null);
    if (!this.inCall) for (const source of this.#borrowed) this.#media.close(source);
    this.#borrowed.clear();
  }
}

/**
 * @param {HTMLSelectElement} select
 * @param {Device[]} devices
 * @param {string|undefined} chosen
 * @param {string} kind
 */
function fillSelect(select, devices, chosen, kind) {
  const options = devices.map(({ deviceId, label }, at) =>
    element("option", { value: deviceId }, label || `${kind[0]?.toUpperCase()}${kind.slice(1)} ${at + 1}`),
  );
  if (options.length === 0) options.push(element("option", { value: "" }, `No ${kind} found`));
  select.replaceChildren(...options);
  select.disabled = devices.length === 0;
  if (chosen && devices.some(({ deviceId }) => deviceId === chosen)) select.value = chosen;
}

/**
 * Shows how loud the microphone is.
 * @param {MediaStreamTrack} track
 * @returns {() => void} stops it
 */
function meter(track) {
  const show = (/** @type {number} */ level) => {
    byId("meter").style.transform = `scaleX(${level.toFixed(3)})`;
  };
  const stop = watchLevel(track, show);
  return () => {
    stop();
    show(0);
  };
}
