/**
 * Waveforms: that of a note, which is also the slider to seek by, and that of a recording, which grows while it is made.
 */
import { element } from "./dom.js";
import { clock } from "./words.js";

/** Width of a bar and of the gap beside it, in CSS pixels. */
const BAR = 3;
const GAP = 2;
/** What a silent bar still shows, of 1. */
const LEAST = 0.08;
/** A whisper is drawn up to this much taller than it is, so that it does not look like silence. */
const MOST_GAIN = 2.5;
/** Peaks are on a scale of decibels, on which syllables look alike; this brings out how they differ. */
const CONTRAST = 1.7;
/** Arrow keys move by this much, in seconds. */
const STEP_S = 2;

/**
 * The heights of so many bars, each between `LEAST` and 1: the mean of its stretch, drawn up to the loudest of all.
 * @param {number[]} peaks each 0 to 255
 * @param {number} count
 * @returns {number[]}
 */
export function heights(peaks, count) {
  const means = Array.from({ length: count }, (_, at) => {
    const first = Math.floor((at * peaks.length) / count);
    const stretch = peaks.slice(first, Math.max(first + 1, Math.floor(((at + 1) * peaks.length) / count)));
    return stretch.reduce((sum, peak) => sum + peak, 0) / Math.max(1, stretch.length);
  });
  const gain = Math.min(MOST_GAIN / 255, 1 / Math.max(1, ...means));
  return means.map((mean) => LEAST + (1 - LEAST) * (mean * gain) ** CONTRAST);
}

/** A note's waveform as a slider: `onSeek` is told the seconds that were pointed at. */
export class Waveform {
  root;
  #bars = element("i", { class: "wave-bars" });
  #peaks;
  #seconds;
  #at = 0;
  #resizes = new ResizeObserver(() => this.#draw());

  /**
   * @param {{peaks: number[], seconds: number, label: string, onSeek: (seconds: number) => void}} what
   */
  constructor({ peaks, seconds, label, onSeek }) {
    this.#peaks = peaks;
    this.#seconds = seconds;
    this.root = element(
      "div",
      { class: "wave", role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": seconds.toFixed(1) },
      this.#bars,
    );
    this.at = 0;
    this.#resizes.observe(this.root);
    const pointed = (/** @type {PointerEvent} */ event) => {
      const { left, width } = this.root.getBoundingClientRect();
      onSeek(Math.max(0, Math.min(1, (event.clientX - left) / width)) * seconds);
    };
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.root.setPointerCapture(event.pointerId);
      pointed(event);
    });
    this.root.addEventListener("pointermove", (event) => this.root.hasPointerCapture(event.pointerId) && pointed(event));
    this.root.addEventListener("keydown", (event) => {
      /** @type {Record<string, number>} */
      const targets = {
        ArrowLeft: this.#at - STEP_S,
        ArrowDown: this.#at - STEP_S,
        ArrowRight: this.#at + STEP_S,
        ArrowUp: this.#at + STEP_S,
        Home: 0,
        End: seconds,
      };
      const target = targets[event.key];
      if (target === undefined) return;
      event.preventDefault();
      onSeek(Math.max(0, Math.min(seconds, target)));
    });
  }

  /** Where it plays, in seconds. @param {number} seconds */
  set at(seconds) {
    this.#at = seconds;
    this.root.style.setProperty("--at", `${((100 * seconds) / Math.max(0.01, this.#seconds)).toFixed(2)}%`);
    this.root.setAttribute("aria-valuenow", seconds.toFixed(1));
    this.root.setAttribute("aria-valuetext", `${clock(seconds * 1000)} of ${clock(this.#seconds * 1000)}`);
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (width === 0 || height === 0) return;
    const count = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
    const pitch = (width + GAP) / count;
    const strokes = heights(this.#peaks, count).map((share, at) => {
      const half = Math.max(0, (share * height - BAR) / 2);
      return `M${(at * pitch + BAR / 2).toFixed(1)} ${(height / 2 - half).toFixed(1)}v${(2 * half + 0.01).toFixed(2)}`;
    });
    const svg =
      `<svg xmlns='http://www.w3.org/2000/svg' width='${width}' height='${height}'>` +
      `<path d='${strokes.join("")}' stroke='black' stroke-width='${BAR}' stroke-linecap='round'/></svg>`;
    // A mask, so that colours stay the style sheet's.
    this.#bars.style.setProperty("--bars", `url("data:image/svg+xml,${encodeURIComponent(svg)}")`);
  }

  close() {
    this.#resizes.disconnect();
  }
}

/** A recording's waveform: the newest level comes in at the right. */
export class LiveWaveform {
  root;
  /** @type {number[]} */
  #levels;
  #bars;

  /** @param {number} count */
  constructor(count) {
    this.#levels = new Array(count).fill(0);
    this.#bars = this.#levels.map(() => element("i"));
    this.root = element("div", { class: "live-wave", "aria-hidden": "true" }, ...this.#bars);
  }

  /** @param {number} level 0 to 1 */
  push(level) {
    this.#levels.shift();
    this.#levels.push(level);
    this.#bars.forEach((bar, at) => {
      bar.style.transform = `scaleY(${(LEAST + (1 - LEAST) * (this.#levels[at] ?? 0)).toFixed(3)})`;
    });
  }
}
