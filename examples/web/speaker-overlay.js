/**
 * What the speaker detector sees and decides, live, behind the key `g`: for whoever tunes it or wonders why. Each row is a person: the
 * level over the noise around it, the evidence for them against what would take the stage, and in colour when they had it. The server
 * measures nothing for this until the overlay opens its data channel, and stops when it is closed.
 */
import { element } from "./dom.js";

/** @typedef {import("./ringback/ringback.js").Room} Room */
/**
 * One person at one moment; levels in dBov, likelihoods in percent, evidence in ms of certainty.
 * @typedef {{participant: string, level: number, noise: number, utterance: number, floor: number, evidence: number, needed: number, speaking: boolean, word: "client"|"missing"|"doubted"}} Reading
 * @typedef {{at: number, stage: boolean} & Reading} Sample
 */

/** The channel's label is what the server knows it by. */
const LABEL = "stage";
/** How much of the past is shown. */
const SPAN_MS = 15_000;
const LEGEND = "White: level, dotted: noise. Yellow: evidence, dashed: what takes the stage. Green: on the stage, and speaking. g closes.";
const ROWS = 6;
const ROW_HEIGHT = 64;
const WIDTH = 420;
const NAME_WIDTH = 112;
/** Levels are drawn between these, in dBov. */
const [QUIETEST, LOUDEST] = [-90, 0];
/** Evidence is drawn up to this, in ms of certainty. */
const MOST_EVIDENCE = 600;

class SpeakerOverlay {
  /** @type {Map<string, Sample[]>} */
  samples = new Map();
  /** Who is on the stage, as the server last said here. @type {string|null} */
  stage = null;
  #room;
  #canvas;
  #root;
  /** @type {RTCDataChannel|undefined} */
  #channel;
  #off;
  #frame = 0;

  /** @param {Room} room */
  constructor(room) {
    this.#room = room;
    this.#canvas = /** @type {HTMLCanvasElement} */ (element("canvas", { role: "img" }));
    this.#root = element(
      "aside",
      { id: "speaker-overlay", "aria-label": "What the speaker detector sees" },
      element("p", { style: `margin: 0 0 8px; max-width: ${WIDTH}px` }, LEGEND),
      this.#canvas,
    );
    Object.assign(this.#root.style, {
      position: "fixed",
      left: "16px",
      top: "16px",
      zIndex: "30",
      padding: "10px 12px",
      borderRadius: "14px",
      background: "rgb(10 16 13 / 86%)",
      color: "#e8efe9",
      font: "12px/1.4 system-ui, sans-serif",
      pointerEvents: "none",
    });
    document.body.append(this.#root);
    // A transport that was replaced takes the channel with it.
    this.#off = [room.on("state", () => this.#open()), room.on("closed", () => close())];
    this.#open();
    this.#draw();
  }

  #open() {
    const { peer } = this.#room;
    const live = this.#channel && this.#channel.readyState !== "closed" && this.#channel.readyState !== "closing";
    if (!peer || peer.signalingState === "closed" || live) return;
    // What comes late is of no use any more.
    const channel = peer.createDataChannel(LABEL, { ordered: false, maxRetransmits: 0 });
    channel.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    this.#channel = channel;
  }

  /** @param {{stage: string|null, people: Reading[]}} told */
  #take({ stage, people }) {
    const at = performance.now();
    this.stage = stage;
    for (const reading of people) {
      const past = this.samples.get(reading.participant) ?? [];
      past.push({ at, stage: stage === reading.participant, ...reading });
      while (past[0] && past[0].at < at - SPAN_MS) past.shift();
      this.samples.set(reading.participant, past);
    }
  }

  /** Whoever has been told of lately, in order of arrival in the room, ourselves first: a row keeps its place. */
  #rows() {
    const now = performance.now();
    const known = [this.#room.me ?? "", ...this.#room.participants.keys()];
    const here = known.filter((id) => (this.samples.get(id)?.at(-1)?.at ?? 0) > now - SPAN_MS);
    if (here.length <= ROWS) return here;
    const evidence = (/** @type {string} */ id) => {
      const last = this.samples.get(id)?.at(-1);
      return last ? (last.stage ? 1e6 : 0) + last.evidence : -1;
    };
    const nearest = new Set([...here].sort((a, b) => evidence(b) - evidence(a)).slice(0, ROWS));
    return here.filter((id) => nearest.has(id));
  }

  #draw() {
    this.#frame = requestAnimationFrame(() => this.#draw());
    const rows = this.#rows();
    const scale = devicePixelRatio;
    const height = Math.max(1, rows.length) * ROW_HEIGHT;
    if (this.#canvas.width !== WIDTH * scale || this.#canvas.height !== height * scale) {
      this.#canvas.width = WIDTH * scale;
      this.#canvas.height = height * scale;
      Object.assign(this.#canvas.style, { width: `${WIDTH}px`, height: `${height}px`, display: "block" });
    }
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, WIDTH, height);
    rows.forEach((id, row) => this.#drawRow(context, id, row * ROW_HEIGHT));
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} id
   * @param {number} top
   */
  #drawRow(context, id, top) {
    const samples = this.samples.get(id) ?? [];
    const last = samples.at(-1);
    if (!last) return;
    const now = performance.now();
    const bottom = top + ROW_HEIGHT - 6;
    const x = (/** @type {number} */ at) => WIDTH - ((now - at) / SPAN_MS) * (WIDTH - NAME_WIDTH);
    const share = (/** @type {number} */ value, /** @type {number} */ from, /** @type {number} */ to) =>
      bottom - (bottom - top - 4) * Math.min(1, Math.max(0, (value - from) / (to - from)));

    samples.forEach((sample, at) => {
      const end = samples[at + 1]?.at ?? now;
      const width = Math.max(1, x(end) - x(sample.at));
      if (sample.stage) {
        context.fillStyle = "rgb(46 204 128 / 26%)";
        context.fillRect(x(sample.at), top + 2, width, bottom - top);
      }
      if (sample.speaking) {
        context.fillStyle = "#2ecc80";
        context.fillRect(x(sample.at), bottom + 1, width, 3);
      }
    });
    /** @param {string} colour @param {number[]} dash @param {(sample: Sample) => number} y */
    const curve = (colour, dash, y) => {
      context.strokeStyle = colour;
      context.lineWidth = 1.4;
      context.setLineDash(dash);
      context.beginPath();
      for (const sample of samples) context.lineTo(x(sample.at), y(sample));
      context.stroke();
    };
    curve("rgb(255 255 255 / 38%)", [2, 3], ({ noise }) => share(noise, QUIETEST, LOUDEST));
    curve("#f2f5f3", [], ({ level }) => share(level, QUIETEST, LOUDEST));
    curve("#f5b942", [4, 3], ({ needed }) => share(needed, 0, MOST_EVIDENCE));
    curve("#f5b942", [], ({ evidence }) => share(evidence, 0, MOST_EVIDENCE));

    context.fillStyle = last.stage ? "#2ecc80" : "#e8efe9";
    context.font = "600 12px system-ui, sans-serif";
    context.fillText(this.#name(id), 0, top + 16, NAME_WIDTH - 10);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = "rgb(232 239 233 / 72%)";
    const level = last.level <= QUIETEST ? "silent" : `${last.level} dBov`;
    context.fillText(level, 0, top + 31, NAME_WIDTH - 10);
    context.fillText(`speech ${last.utterance} %`, 0, top + 44, NAME_WIDTH - 10);
    if (last.word !== "client") context.fillText(`level ${last.word}`, 0, top + 57, NAME_WIDTH - 10);
  }

  /** @param {string} id */
  #name(id) {
    return id === this.#room.me ? "You" : (this.#room.participants.get(id)?.name ?? id);
  }

  close() {
    cancelAnimationFrame(this.#frame);
    for (const off of this.#off) off();
    this.#channel?.close();
    this.#root.remove();
  }
}

/** @type {SpeakerOverlay|null} */
let overlay = null;

function close() {
  overlay?.close();
  overlay = null;
}

/**
 * Opens the overlay over a room, or closes it.
 * @param {Room} room
 */
export function toggleSpeakerOverlay(room) {
  if (overlay) close();
  else overlay = new SpeakerOverlay(room);
}

/** What it has taken in so far, for tests. */
export const speakerOverlay = () => overlay;
