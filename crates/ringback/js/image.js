/** An image on request: where it stands, its picture once it is posted, and what can be done with it. */
import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").ImageInfo} ImageInfo */
/** What an image needs of its session. @typedef {{http: import("./http.js").Http, user: () => string, send: (path: string) => Promise<Image>}} ImageHost */

/** `change`: anything about it. @extends {Emitter<{change: Image}>} */
export class Image extends Emitter {
  #host;
  /** @type {ImageInfo} */
  #info;

  /** Made by `Images`. @param {ImageHost} host @param {ImageInfo} info */
  constructor(host, info) {
    super();
    this.#host = host;
    this.#info = info;
  }

  get id() {
    return this.#info.id;
  }

  get thread() {
    return this.#info.thread;
  }

  /** In words of whoever asked: also what to tell those who cannot see it. */
  get prompt() {
    return this.#info.prompt;
  }

  get state() {
    return this.#info.state;
  }

  get from() {
    return this.#info.from;
  }

  /** Who makes it. */
  get provider() {
    return this.#info.provider;
  }

  /** Why it failed. */
  get reason() {
    return this.#info.reason;
  }

  /** What whoever refused it says. */
  get detail() {
    return this.#info.detail;
  }

  /** How much of it is done, 0 to 1, where that is known. */
  get progress() {
    return this.#info.progress;
  }

  get createdAt() {
    return this.#info.created_at;
  }

  get width() {
    return this.#info.width;
  }

  get height() {
    return this.#info.height;
  }

  /** Where the picture is, for a while; null until it is posted. */
  get url() {
    return this.#info.url && this.#host.http.absolute(this.#info.url);
  }

  get isOwn() {
    return this.#info.from.user === this.#host.user();
  }

  /** Whether nothing more becomes of it. */
  get isOver() {
    return !["queued", "submitted", "running", "fetching"].includes(this.state);
  }

  /** Gives it up while it is under way. */
  async cancel() {
    await this.#host.http.send("DELETE", `images/${this.id}`);
  }

  /** Takes it back, for everybody, once it is over. */
  async delete() {
    await this.#host.http.send("DELETE", `images/${this.id}`);
  }

  /** Asks for another picture of the same prompt. @returns {Promise<Image>} that one */
  async again() {
    return this.#host.send(`images/${this.id}/again`);
  }

  /** Made by `Images`. @param {ImageInfo} info */
  update(info) {
    // What was told over the socket may be newer than the answer to a request.
    if (info.revision < this.#info.revision) return;
    this.#info = { ...info, progress: info.progress ?? (info.state === this.state ? this.progress : null) };
    this.emit("change", this);
  }
}
