/** One person's (or screen's) place on the stage: a face made of initials, and the picture over it when there is one. */
import { avatar, element, icon } from "./dom.js";
import { QualityBars } from "./quality.js";
import { statusOf } from "./status.js";

/** @typedef {import("./layout.js").Box} Box */
/** @typedef {import("./ringback/ringback.js").Participant} Participant */
/** @typedef {import("./ringback/ringback.js").Room} Room */

/** A picture loses at most this share of itself to cropping; beyond, it is shown whole. */
const CROP_LIMIT = 0.45;

export class Tile {
  root;
  /** Where the picture goes. */
  picture = element("div", { class: "tile-picture" });
  #name = element("span", { class: "tile-name" });
  #status = element("p", { class: "tile-status", hidden: true });
  /** Whether their media was there before. */
  #connected = false;
  #muted = element("span", { class: "tile-muted", title: "Muted" }, icon("mic-off"));
  /** Where it is not good. */
  quality = new QualityBars();

  /** @param {{name: string, kind: "person"|"self"|"screen", onpin?: () => void}} what */
  constructor({ name, kind, onpin }) {
    const label = kind === "self" ? "You" : kind === "screen" ? `${name}’s screen` : name;
    this.#name.textContent = label;
    this.root = element(
      "article",
      { class: "tile", "data-kind": kind, "aria-label": label },
      kind === "screen" ? null : element("div", { class: "tile-face" }, avatar(name)),
      this.picture,
      this.#status,
      element("footer", {}, this.#muted, this.#name, this.quality.root),
    );
    if (onpin) {
      const pin = element("button", { class: "tile-pin", type: "button", "aria-pressed": "false" }, icon("pin"));
      pin.setAttribute("aria-label", `Keep ${label} large`);
      pin.title = `Keep ${label} large`;
      pin.addEventListener("click", onpin);
      this.root.append(pin);
      this.root.addEventListener("dblclick", onpin);
    }
    // `resize` does not bubble; captured, it tells of whatever player stands in here.
    this.picture.addEventListener("resize", () => this.#fit(), true);
  }

  /** @param {boolean} on */
  set speaking(on) {
    this.root.toggleAttribute("data-speaking", on);
  }

  /** @param {boolean} on */
  set muted(on) {
    this.root.toggleAttribute("data-muted", on);
  }

  /** What they are doing meanwhile, by its id. @param {string|undefined} id */
  set status(id) {
    if ((this.#status.dataset.status ?? "") === (id ?? "")) return;
    this.#status.hidden = id === undefined;
    this.#status.dataset.status = id ?? "";
    const { sign, words } = statusOf(id ?? "");
    this.#status.replaceChildren(sign, element("span", {}, words));
  }

  /** Whether the picture may be shown. @param {boolean} on */
  set camera(on) {
    this.root.toggleAttribute("data-camera", on);
  }

  /** @param {boolean} on */
  set pinned(on) {
    this.root.toggleAttribute("data-pinned", on);
    this.root.querySelector(".tile-pin")?.setAttribute("aria-pressed", String(on));
  }

  /** Whether their media transport is not up: not yet, or not any more. @param {boolean} on */
  set connecting(on) {
    if (!on) this.#connected = true;
    this.root.toggleAttribute("data-connecting", on && !this.#connected);
    this.root.toggleAttribute("data-lost", on && this.#connected);
  }

  /** @param {Box} box @param {"plain"|"corner"|"strip"} place */
  place({ x, y, width, height }, place = "plain") {
    const { style, dataset } = this.root;
    style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
    style.width = `${Math.round(width)}px`;
    style.height = `${Math.round(height)}px`;
    dataset.place = place;
    this.#fit();
  }

  #fit() {
    const video = this.picture.querySelector("video");
    if (!video?.videoWidth || !this.root.clientHeight) return;
    const own = video.videoWidth / video.videoHeight;
    const box = parseFloat(this.root.style.width) / parseFloat(this.root.style.height);
    const cropped = 1 - Math.min(own / box, box / own);
    this.picture.toggleAttribute("data-whole", this.root.dataset.kind === "screen" || cropped > CROP_LIMIT);
  }

  remove() {
    this.root.remove();
  }
}

/**
 * Shows a track of this device.
 * @param {HTMLElement} picture
 * @param {MediaStreamTrack|null} track
 */
export function showLocal(picture, track) {
  const old = picture.querySelector("video");
  if (!track) {
    old?.remove();
    delete picture.dataset.video;
    return;
  }
  const video = old ?? element("video", { muted: true, autoplay: true, playsinline: true });
  // As a mirror, but for a phone's camera on the back, which shows the world.
  picture.toggleAttribute("data-back", track.getSettings().facingMode === "environment");
  video.muted = true;
  video.srcObject = new MediaStream([track]);
  picture.dataset.video = "live";
  if (!old) picture.append(video);
  video.play().catch(() => {});
}
