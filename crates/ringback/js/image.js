/** An image on request: where it stands, its picture once it is posted, and what can be done with it. */
import { Emitter } from "./emitter.js";
import { isUnsure } from "./errors.js";
import { newKey } from "./key.js";

/** @typedef {import("./protocol.js").ImageInfo} ImageInfo */
/** What an image needs of its session. @typedef {{http: import("./http.js").Http, socket: import("./socket.js").SignalingSocket, user: () => string, again: (image: string, variation?: {set: string, nth: number}) => Promise<Image>, take: (info: ImageInfo) => Image}} ImageHost */

/** `change`: anything about it. @extends {Emitter<{change: Image}>} */
export class Image extends Emitter {
  #host;
  /** @type {ImageInfo} */
  #info;
  /** Of variations of which nobody knows whether they were taken: what is asked for next belongs to them. @type {string|undefined} */
  #unsureSet;

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

  /** The image that was asked for again with it, null where its prompt is its own. */
  get againOf() {
    return this.#info.again_of;
  }

  /** The set of variations that it is one of: the same for all that one user asked for together; null where it is none. */
  get set() {
    return this.#info.set ?? null;
  }

  /** What those who see it say to it, one each, oldest first. */
  get reactions() {
    return this.#info.reactions ?? [];
  }

  /** Who looks at it here. */
  get reader() {
    return this.#host.user();
  }

  /** What this user says to it. */
  get reaction() {
    return this.reactions.find(({ user }) => user === this.#host.user())?.emoji ?? null;
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
    return this.#host.again(this.id);
  }

  /**
   * Asks for several more pictures of the same prompt, one after the other until one is refused.
   * @param {number} count
   * @returns {Promise<{images: Image[], refused: unknown}>} those that are on their way, and why the next is not; null where all are
   */
  async variations(count) {
    /** @type {Image[]} */
    const images = [];
    const set = this.#unsureSet ?? newKey();
    this.#unsureSet = undefined;
    try {
      while (images.length < count) images.push(await this.#host.again(this.id, { set, nth: images.length }));
      return { images, refused: null };
    } catch (refused) {
      if (isUnsure(refused)) this.#unsureSet = set;
      return { images, refused };
    }
  }

  /**
   * Reacts to it once it is posted, in place of the reaction before.
   * @param {string|null} emoji exactly one, or null to take it back
   */
  async react(emoji) {
    const { image } = await this.#host.socket.request("image.react", { image: this.id, emoji });
    return this.#host.take(image);
  }

  /** Made by `Images`. @param {ImageInfo} info */
  update(info) {
    // What was told over the socket may be newer than the answer to a request.
    if (info.revision < this.#info.revision) return;
    this.#info = { ...info, progress: info.progress ?? (info.state === this.state ? this.progress : null) };
    this.emit("change", this);
  }
}
