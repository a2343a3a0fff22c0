/**
 * A take that this device records by itself, since its media does not reach the server: `MediaRecorder` records it, and it goes up in
 * pieces over HTTP (tus 1.0.0) while it is still being recorded. A connection that breaks is taken up where it broke.
 */
import { asRingbackError, RingbackError } from "./errors.js";

/** @typedef {import("./http.js").Http} Http */
/** @typedef {import("./protocol.js").NoteKind} NoteKind */

/**
 * What the server takes, best first: WebM becomes a note like any other; of MP4 the poster is drawn here. Safari before 18.4 records MP4 only, and some of it knows that type
 * without codecs only.
 * @type {Record<NoteKind, string[]>}
 */
const TYPES = {
  voice: ["audio/webm;codecs=opus", "audio/mp4;codecs=mp4a.40.2", "audio/mp4;codecs=opus", "audio/mp4"],
  video: ["video/webm;codecs=vp8,opus", "video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/mp4;codecs=avc1.42E01E,opus", "video/mp4"],
};
/** A good voice, and a picture that a phone's uplink carries. */
const BITRATES = { audioBitsPerSecond: 48_000, videoBitsPerSecond: 1_000_000 };
/** How often what was recorded is handed over. More often is less to send at the end, and more requests. */
const PIECE_MS = 1_000;
/** The pause after a request that did not get through, at first and at most; in between it doubles. */
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 8_000;
/** Of a poster: as large as it is shown on a large screen, in pixels, and JPEG's quality. */
const POSTER_SIDE = 1_280;
const POSTER_QUALITY = 0.8;
/** How long the end of a take waits for its poster. */
const POSTER_MS = 3_000;
/** When it is drawn, after the beginning: the camera has found the light by then. */
const POSTER_AFTER_MS = 1_000;
const TUS = { "tus-resumable": "1.0.0" };

export class RecordedTake {
  #http;
  #note;
  #recorder;
  /** @type {Blob[]} */
  #pieces = [];
  #recorded = 0;
  #offset = 0;
  #path = "";
  #ended = false;
  #aborted = false;
  /** Wakes the upload when there is more. */
  #more = () => {};
  /** @type {Promise<void>|undefined} */
  #carried;
  #onProgress;
  /** Of a camera whose pictures the server cannot decode. @type {MediaStreamTrack|undefined} */
  #drawn;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #drawTimer;
  /** @type {Promise<unknown>|undefined} */
  #poster;

  /**
   * The media type in which this browser would record, or null where the server would not take it.
   * @param {NoteKind} kind
   */
  static type(kind) {
    if (typeof MediaRecorder === "undefined") return null;
    return TYPES[kind].find((type) => MediaRecorder.isTypeSupported(type)) ?? null;
  }

  /**
   * @param {Http} http
   * @param {string} note
   * @param {NoteKind} kind
   * @param {MediaStreamTrack[]} tracks
   * @param {() => void} onProgress when more has arrived
   */
  constructor(http, note, kind, tracks, onProgress) {
    const mimeType = RecordedTake.type(kind);
    if (mimeType === null) throw new RingbackError("device_failed", "This browser cannot record without a connection.");
    this.#http = http;
    this.#note = note;
    this.#onProgress = onProgress;
    this.#recorder = new MediaRecorder(new MediaStream(tracks), { mimeType, ...BITRATES });
    this.#recorder.addEventListener("dataavailable", ({ data }) => {
      this.#pieces.push(data);
      this.#recorded += data.size;
      this.#more();
    });
    if (mimeType.startsWith("video/mp4")) this.#drawn = tracks.find((track) => track.kind === "video");
  }

  /** The share of what was recorded that has arrived, 0 to 1. */
  get arrived() {
    return this.#recorded > 0 ? this.#offset / this.#recorded : 0;
  }

  /** Tells the server that a take is to come, and records from then on. */
  async start() {
    const headers = { ...TUS, "upload-defer-length": "1" };
    const created = await this.#http.raw("POST", `notes/${encodeURIComponent(this.#note)}/takes`, { headers });
    if (created.status !== 201) throw await this.#http.refusal(created);
    this.#path = `notes/${encodeURIComponent(this.#note)}/${created.headers.get("location") ?? ""}`;
    this.#recorder.start(PIECE_MS);
    if (this.#drawn) this.#drawTimer = setTimeout(() => this.#draw(), POSTER_AFTER_MS);
    this.#carried = this.#carry();
    // Whoever waits for the end is told.
    this.#carried.catch(() => {});
  }

  /** Records no more. Resolves once all of it has arrived. */
  async finish() {
    this.#draw();
    if (this.#recorder.state !== "inactive") {
      const stopped = new Promise((resolve) => this.#recorder.addEventListener("stop", resolve, { once: true }));
      this.#recorder.stop();
      await stopped;
    }
    await Promise.race([this.#poster, new Promise((resolve) => setTimeout(resolve, POSTER_MS))]);
    this.#ended = true;
    this.#more();
    await this.#carried;
  }

  /** Makes the poster, where the server cannot and there is none yet. Without one the first picture stands for it. */
  #draw() {
    clearTimeout(this.#drawTimer);
    if (this.#drawn) this.#poster ??= this.#sendPoster(this.#drawn).catch(() => {});
  }

  /** Sends what the camera shows. @param {MediaStreamTrack} track */
  async #sendPoster(track) {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true, srcObject: new MediaStream([track]) });
    await video.play();
    const { videoWidth, videoHeight } = video;
    // Of a camera that is closed Chromium shows a picture of 2 × 2 pixels.
    if (track.readyState === "ended" || videoWidth <= 2) return;
    const scale = Math.min(1, POSTER_SIDE / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale);
    canvas.height = Math.round(videoHeight * scale);
    canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
    video.srcObject = null;
    const picture = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", POSTER_QUALITY));
    if (picture) await this.#http.raw("PUT", `${this.#path}/poster`, { headers: { "content-type": "image/jpeg" }, body: picture });
  }

  /** Gives it up; what has arrived is the server's to forget. */
  abort() {
    this.#aborted = true;
    clearTimeout(this.#drawTimer);
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    this.#more();
  }

  async #carry() {
    let pause = FIRST_PAUSE_MS;
    while (!this.#aborted) {
      const rest = new Blob(this.#pieces).slice(this.#offset);
      const ended = this.#ended;
      if (rest.size === 0 && !ended) {
        await new Promise((resolve) => {
          this.#more = () => resolve(undefined);
        });
        continue;
      }
      try {
        if (await this.#send(rest, ended)) return;
        pause = FIRST_PAUSE_MS;
      } catch (thrown) {
        if (asRingbackError(thrown).code !== "disconnected") throw thrown;
        await new Promise((resolve) => setTimeout(resolve, pause));
        pause = Math.min(pause * 2, LAST_PAUSE_MS);
        if (await this.#find(ended)) return;
      }
    }
  }

  /**
   * Sends what has not arrived.
   * @param {Blob} rest
   * @param {boolean} ended whether that is all
   * @returns {Promise<boolean>} whether all of it has
   */
  async #send(rest, ended) {
    const length = this.#offset + rest.size;
    /** @type {Record<string, string>} */
    const headers = { ...TUS, "content-type": "application/offset+octet-stream", "upload-offset": String(this.#offset) };
    if (ended) headers["upload-length"] = String(length);
    const response = await this.#http.raw("PATCH", this.#path, { headers, body: rest });
    const offset = response.headers.get("upload-offset");
    const elsewhere = response.status === 409 && offset !== null && Number(offset) !== this.#offset;
    if (response.status !== 204 && !elsewhere && response.status !== 408) throw await this.#http.refusal(response);
    this.#offset = Number(offset);
    this.#onProgress();
    return ended && response.status === 204 && this.#offset === length;
  }

  /**
   * Asks how far it has come.
   * @param {boolean} ended whether all of it was on its way
   * @returns {Promise<boolean>} whether there is nothing more to send
   */
  async #find(ended) {
    try {
      const response = await this.#http.raw("HEAD", this.#path, { headers: TUS });
      const offset = response.headers.get("upload-offset");
      if (offset !== null) this.#offset = Number(offset);
      // The last of it had arrived, and only its answer was lost: the note says what became of it.
      return offset === null && ended && response.status < 500;
    } catch {
      // Still no way through; the next try tells.
      return false;
    }
  }
}
