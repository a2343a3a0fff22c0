/** Images on request, of this user and of those who show them some. Each is one object wherever it shows up. */
import { Emitter } from "./emitter.js";
import { isUnsure } from "./errors.js";
import { Image } from "./image.js";
import { newKey } from "./key.js";

/** @typedef {import("./protocol.js").ImageInfo} ImageInfo */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** What can be asked for. `price`: what a picture costs at most, 0 where the operator says none; `currency` where they say which. @typedef {{provider: string, sizes: string[], price: number, currency: string|null}} ImageOffer */

/** `image`: one is new, or another than before. `deleted`: whoever asked has taken it back. @extends {Emitter<{image: Image, deleted: Image}>} */
export class Images extends Emitter {
  /** @type {Map<string, Image>} */
  #known = new Map();
  /** Keys of requests without an answer. @type {Map<string, string>} */
  #unanswered = new Map();
  #host;

  /** Made by `Session`. @param {{http: import("./http.js").Http, socket: import("./socket.js").SignalingSocket, user: () => string}} host */
  constructor(host) {
    super();
    this.#host = {
      ...host,
      again: (/** @type {string} */ image, /** @type {{set: string, nth: number}|undefined} */ variation) =>
        this.#send(`images/${image}/again`, variation ? { set: variation.set } : {}, variation?.nth),
      take: (/** @type {ImageInfo} */ info) => this.take(info),
    };
  }

  /** What can be asked for; empty where this server makes no images. @returns {Promise<ImageOffer[]>} */
  async offers() {
    return (await this.#host.http.get("images")).offers;
  }

  /**
   * Asks for an image in a thread.
   * @param {string} thread
   * @param {string} prompt
   * @param {{provider?: string, size?: string}} [options]
   * @returns {Promise<Image>} on its way. Where the connection broke, the same asked for again is the same image
   */
  async ask(thread, prompt, { provider, size } = {}) {
    const path = `threads/${encodeURIComponent(thread)}/images`;
    return this.#send(path, { prompt, provider, size });
  }

  /** @param {string} path @param {Record<string, unknown>} request @param {number} [nth] of several that are the same */
  async #send(path, request, nth = 0) {
    const what = JSON.stringify([path, request, nth]);
    const key = this.#unanswered.get(what) ?? newKey();
    this.#unanswered.set(what, key);
    try {
      const { image } = await this.#host.http.send("POST", path, { ...request, key });
      this.#unanswered.delete(what);
      return this.take(image);
    } catch (thrown) {
      // Otherwise nobody knows whether it was taken.
      if (!isUnsure(thrown)) this.#unanswered.delete(what);
      throw thrown;
    }
  }

  /** The one object of what the server told of. @param {ImageInfo} info @returns {Image} */
  take(info) {
    const known = this.#known.get(info.id);
    if (known) known.update(info);
    const image = known ?? new Image(this.#host, info);
    this.#known.set(info.id, image);
    return image;
  }

  /** @param {ServerEvent} event */
  handle(event) {
    if (!event.image) return;
    const image = this.take(event.image);
    if (event.event !== "image.deleted") return this.emit("image", image);
    this.#known.delete(image.id);
    this.emit("deleted", image);
  }
}
