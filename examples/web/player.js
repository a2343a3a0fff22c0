/**
 * Plays a note: waveform to seek by, speed, and for a video note its picture. It tells when a note has really been heard,
 * and asks for a fresh link where the old one no longer works. One plays at a time.
 */
import { element, icon, setIcon } from "./dom.js";
import { Waveform } from "./waveform.js";
import { kindName } from "./note-words.js";
import { clock } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */

/** Heard is what has played for a second, or half of what is shorter: opening a page or a slip of the finger is neither. */
const HEARD_S = 1;
/** More between two reports of the player's clock is a jump, not listening. */
const JUMP_S = 2;
const RATES = [1, 1.5, 2];
const RATE_KEY = "ringback.rate";

/** @type {Player|null} */
let playing = null;

export class Player {
  root;
  /** The element that plays. @type {HTMLMediaElement} */
  media;
  #note;
  #onHeard;
  #wave;
  #play;
  #screen;
  #time = element("span", { class: "player-time" });
  #rate = element("button", { class: "player-rate", type: "button", onclick: () => this.#nextRate() });
  #error = element("p", { class: "player-error", role: "alert" });
  /** Seconds played so far, jumps left out. */
  #listened = 0;
  #last = 0;
  #told = false;
  /** Where to begin once the file is there, in seconds. */
  #from = 0;
  #renewed = false;
  /** Nobody has played it yet: it is loaded for its first picture. */
  #shownOnly = false;

  /**
   * @param {Note} note with a take
   * @param {{label: string, onHeard?: () => void}} options `label` names it to screen readers
   */
  constructor(note, { label, onHeard }) {
    this.#note = note;
    this.#onHeard = onHeard;
    const video = note.kind === "video";
    const seconds = note.durationMs / 1000;
    this.media = video ? element("video", { playsinline: true, preload: "none" }) : element("audio", { preload: "none" });
    if (video && note.posterUrl) this.media.setAttribute("poster", note.posterUrl);
    this.#play = element(
      "button",
      { class: "player-play", type: "button", "aria-label": `Play ${label}`, onclick: () => void this.toggle() },
      icon("play"),
    );
    this.#wave = new Waveform({
      peaks: note.peaks,
      seconds,
      label: `Position in ${label}`,
      onSeek: (at) => this.#seek(at),
    });
    this.#screen = video ? this.#makeScreen() : null;
    this.root = element(
      "div",
      { class: "player", "data-kind": note.kind },
      this.#screen ?? this.media,
      element("div", { class: "player-bar" }, this.#play, this.#wave.root, this.#time, this.#rate),
      this.#error,
    );
    this.#label = label;
    this.#listen();
    this.#showRate(Number(localStorage.getItem(RATE_KEY)) || 1);
    this.#show();
    if (note.contentType && this.media.canPlayType(note.contentType) === "") this.#cannotPlay();
    else if (video && !note.posterUrl) void this.#showFirst();
  }

  #label;

  #makeScreen() {
    const { width, height } = this.#note;
    const screen = element("div", { class: "player-screen" }, this.media);
    if (width && height) screen.style.setProperty("--ratio", String(width / height));
    screen.append(element("i", { class: "player-start", "aria-hidden": "true" }, icon("play")));
    screen.addEventListener("click", () => void this.toggle());
    if (this.media.requestFullscreen) {
      const large = element(
        "button",
        { class: "player-large", type: "button", "aria-label": "Full screen", title: "Full screen" },
        icon("expand"),
      );
      large.addEventListener("click", (event) => {
        event.stopPropagation();
        void this.media.requestFullscreen();
      });
      screen.append(large);
    }
    return screen;
  }

  #listen() {
    const { media } = this;
    const shown = () => this.#show();
    for (const name of ["play", "pause", "ended", "seeked", "loadedmetadata"]) media.addEventListener(name, shown);
    media.addEventListener("play", () => this.#follow());
    media.addEventListener("timeupdate", () => this.#count());
    media.addEventListener("seeking", () => {
      this.#last = media.currentTime;
    });
    media.addEventListener("ended", () => this.#count());
    media.addEventListener("loadedmetadata", () => {
      media.playbackRate = this.rate;
      if (this.#from > 0) media.currentTime = this.#from;
      this.#from = 0;
    });
    media.addEventListener("waiting", () => this.root.toggleAttribute("data-waiting", true));
    for (const name of ["playing", "pause"]) {
      media.addEventListener(name, () => this.root.toggleAttribute("data-waiting", false));
    }
    media.addEventListener("error", () => void this.#failed());
  }

  get isPlaying() {
    return !this.media.paused && !this.media.ended;
  }

  async toggle() {
    if (this.isPlaying) this.media.pause();
    else await this.play();
  }

  async play() {
    if (playing !== this) playing?.media.pause();
    playing = this;
    this.#error.textContent = "";
    this.#shownOnly = false;
    try {
      if (!this.media.hasAttribute("src")) this.media.setAttribute("src", (await this.#note.link()) ?? "");
      this.root.toggleAttribute("data-waiting", this.media.readyState < 3);
      await this.media.play();
    } catch (thrown) {
      const { name } = /** @type {{name?: string}} */ (thrown);
      // Paused again before it had begun; and what cannot be loaded has an event of its own.
      if (name !== "AbortError" && name !== "NotSupportedError") this.#sayError();
    }
  }

  pause() {
    this.media.pause();
  }

  /** Where the server could make no poster, the first picture stands for it; Safari draws that only once it is sought. */
  async #showFirst() {
    const url = await this.#note.link().catch(() => null);
    if (!url || this.media.hasAttribute("src")) return;
    this.#shownOnly = true;
    this.media.preload = "metadata";
    this.media.setAttribute("src", `${url}#t=0.001`);
  }

  /** @param {number} at seconds */
  #seek(at) {
    if (this.media.readyState > 0) this.media.currentTime = at;
    else this.#from = at;
    this.#wave.at = at;
    this.#showTime(at);
  }

  /** The clock runs between two reports, so that the waveform does not jerk. */
  #follow() {
    const step = () => {
      if (!this.isPlaying) return;
      this.#show();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  #count() {
    const { currentTime } = this.media;
    const passed = currentTime - this.#last;
    this.#last = currentTime;
    if (passed > 0 && passed < JUMP_S) this.#listened += passed;
    const enough = Math.min(HEARD_S, this.#note.durationMs / 2000);
    if (this.#told || this.#listened < enough) return;
    this.#told = true;
    this.#onHeard?.();
  }

  /** So that it is told again when it was marked as unheard meanwhile. */
  forgetHeard() {
    this.#told = false;
    this.#listened = 0;
  }

  #show() {
    const { media } = this;
    const at = media.readyState > 0 ? media.currentTime : this.#from;
    this.#wave.at = media.ended ? 0 : at;
    this.#showTime(at);
    this.root.toggleAttribute("data-playing", this.isPlaying);
    this.root.toggleAttribute("data-begun", media.readyState > 1);
    setIcon(this.#play, this.isPlaying ? "pause" : "play");
    this.#play.setAttribute("aria-label", `${this.isPlaying ? "Pause" : "Play"} ${this.#label}`);
  }

  /** @param {number} at */
  #showTime(at) {
    const total = this.#note.durationMs;
    const untouched = at === 0 || this.media.ended;
    this.#time.textContent = clock(untouched ? total : at * 1000);
  }

  get rate() {
    return Number(this.#rate.dataset.rate);
  }

  #nextRate() {
    const next = RATES[(RATES.indexOf(this.rate) + 1) % RATES.length] ?? 1;
    localStorage.setItem(RATE_KEY, String(next));
    this.#showRate(next);
  }

  /** @param {number} rate */
  #showRate(rate) {
    const known = RATES.includes(rate) ? rate : 1;
    this.#rate.dataset.rate = String(known);
    this.#rate.textContent = `${known}×`;
    this.#rate.setAttribute("aria-label", `Speed ${known}×, change`);
    this.#rate.title = "Speed";
    this.media.playbackRate = known;
  }

  /** A link that has expired is the likely cause: once, a fresh one is tried. */
  async #failed() {
    if (!this.media.hasAttribute("src")) return;
    if (this.#shownOnly) {
      this.media.removeAttribute("src");
      return;
    }
    const at = this.media.currentTime;
    if (this.#renewed) return this.#sayError();
    this.#renewed = true;
    try {
      const url = await this.#note.link({ renew: true });
      if (!url) return this.#sayError();
      this.#from = at;
      this.media.setAttribute("src", url);
      await this.media.play();
      this.#renewed = false;
    } catch {
      this.#sayError();
    }
  }

  #sayError() {
    this.root.toggleAttribute("data-waiting", false);
    this.#error.textContent = `This ${kindName(this.#note)} could not be loaded. Try again.`;
    this.media.removeAttribute("src");
    this.#renewed = false;
  }

  /** An older Safari cannot play Ogg; the file can still be had. */
  #cannotPlay() {
    this.#play.disabled = true;
    const link = element("a", { href: this.#note.url ?? "", download: `${this.#note.id}.${ending(this.#note.contentType)}` }, "Download it");
    this.#error.replaceChildren(`This browser cannot play it. `, link);
  }

  close() {
    this.media.pause();
    // Lets go of the connection.
    if (this.media.hasAttribute("src")) {
      this.media.removeAttribute("src");
      this.media.load();
    }
    this.#wave.close();
    if (playing === this) playing = null;
  }
}

/** What a note's file ends with, by its media type. @type {Record<string, string>} */
const ENDINGS = { "audio/ogg": "ogg", "audio/mp4": "m4a", "video/mp4": "mp4" };

/** @param {string|null} contentType */
function ending(contentType) {
  return ENDINGS[contentType?.split(";")[0] ?? ""] ?? "webm";
}

/** Silences whatever plays: somebody rings, or a recording begins. */
export function silence() {
  playing?.pause();
}
