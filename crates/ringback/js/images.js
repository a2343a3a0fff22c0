/** Images on request, of this user and of those who show them some. Each is one object wherever it shows up. */
import { Emitter } from "./emitter.js";
import { Image } from "./image.js";

/** @typedef {import("./protocol.js").ImageInfo} ImageInfo */
/** @typedef {import("./protocol.js").ServerEvent} ServerEvent */
/** @typedef {{provider: string, sizes: string[]}} ImageOffer */

/** `image`: one is new, or another than before. @extends {Emitter<{image: Image}>} */
export class Images extends Emitter {
  /** @type {Map<string, Image>} */
  #known = new Map();
  #host;

  /** Made by `Session`. @param {{http: import("./http.js").Http, user: () => string}} host */
  constructor(host) {
    super();
    this.#host = { ...host, take: (/** @type {ImageInfo} */ info) => this.take(info) };
  }

  /** What can be asked for; empty where this server makes no images. @returns {Promise<ImageOffer[]>} */
  async offers() {
    return (await this.#host.http.get("images")).offers;
  }

  /**
   * Asks for an image in a thread.
   * @param {string} thread
   * @param {string} prompt
   * @param {{key?: string, provider?: string, size?: string}} [options] `key`: the same again is the same image, for whoever does not know whether a request arrived
   * @returns {Promise<Image>} on its way
   */
  async ask(thread, prompt, { key = crypto.randomUUID(), provider, size } = {}) {
    const { image } = await this.#host.http.send("POST", `threads/${encodeURIComponent(thread)}/images`, { prompt, key, provider, size });
    return this.take(image);
  }

  /** The one object of what the server told of. @param {ImageInfo} info */
  take(info) {
    const known = this.#known.get(info.id);
    if (known) known.update(info);
    const image = known ?? new Image(this.#host, info);
    this.#known.set(info.id, image);
    return image;
  }

  /** @param {ServerEvent} event */
  handle(event) {
    if (event.image) this.emit("image", this.take(event.image));
  }
}
