/** An image on request wherever it is shown: on its way with how far it is, the picture with its prompt, or why there is none. */
import { announce, element, notice } from "./dom.js";
import { tool } from "./note-card.js";
import { failureText, imageErrorText, priceText, progressText } from "./image-words.js";
import { ThreadReactions } from "./thread-reactions.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */
/** @typedef {import("./ringback/images.js").ImageOffer} ImageOffer */

/** How many variations are asked for at once: as many as a user may have under way unless the operator says otherwise. */
const VARIATIONS = 4;

export class ImageCard {
  root;
  #image;
  #change;
  #offers;
  #reactions;
  #off;
  #picture = element("div", { class: "image-picture" });
  #foot = element("div", { class: "card-foot" });
  #varied = element("div", { class: "image-variations", hidden: true });
  /** @type {HTMLImageElement|undefined} */
  #shown;

  /**
   * @param {Image} image
   * @param {{change: (prompt: string) => void, offers: () => Promise<ImageOffer[]>}} actions `change` lets its prompt be changed
   */
  constructor(image, { change, offers }) {
    this.#image = image;
    this.#change = change;
    this.#offers = offers;
    this.#reactions = new ThreadReactions(image, imageErrorText);
    this.root = element("div", { class: "image-card" }, element("p", { class: "image-prompt", title: image.prompt, ...(image.againOf !== null && { "data-again": true }) }, image.prompt), this.#picture, this.#reactions.root, this.#foot, this.#varied);
    this.#off = image.on("change", () => this.#show());
    this.#show();
  }

  #show() {
    const image = this.#image;
    this.root.dataset.state = image.state;
    this.#reactions.show(image.state === "posted");
    if (image.url) this.#showPicture(image.url);
    else this.#picture.replaceChildren(...(image.isOver ? [] : [bar(image)]));
    const focused = document.activeElement instanceof HTMLElement && this.#foot.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    this.#foot.replaceChildren(...this.#words(), element("div", { class: "image-actions" }, ...this.#buttons()));
    if (focused) /** @type {HTMLElement|null} */ (this.#foot.querySelector(`[data-key="${focused}"]`))?.focus();
  }

  /** @param {string} url */
  #showPicture(url) {
    // A link is another each time it is told, and the picture the same: it is fetched again only where that failed.
    if (this.#shown) return;
    const { prompt, width, height } = this.#image;
    const shown = element("img", { alt: prompt, width: String(width), height: String(height), decoding: "async" });
    shown.addEventListener("error", () => {
      if (this.#shown === shown) this.#shown = undefined;
    });
    shown.src = url;
    this.#shown = shown;
    this.#picture.replaceChildren(shown);
  }

  #words() {
    const image = this.#image;
    if (image.state === "posted") return [element("p", {}, `Made by ${image.provider}`)];
    return [element("p", { role: "status" }, image.isOver ? failureText(image) : progressText(image))];
  }

  #buttons() {
    const image = this.#image;
    const button = (/** @type {string} */ key, /** @type {string} */ label, /** @type {() => void} */ act) =>
      element("button", { class: "text-button", type: "button", "data-key": key, onclick: act }, label);
    if (!image.isOver) return image.isOwn ? [button("cancel", "Cancel", () => void this.#do(() => image.cancel()))] : [];
    const again = button("again", image.state === "posted" ? "Again" : "Try again", () => void this.#do(() => image.again()));
    const taken = image.isOwn ? [tool("Delete", "trash", "Delete for everybody", () => void this.#do(() => image.delete()), "Tap again to delete for everybody")] : [];
    const vary = element("button", { class: "text-button", type: "button", "data-key": "vary", "aria-expanded": String(!this.#varied.hidden), onclick: () => void this.#vary() }, "Variations");
    return [...taken, button("change", "Change", () => this.#change(image.prompt)), again, image.state === "posted" && vary].filter((one) => one !== false);
  }

  /** Says what variations are and cost, and asks whether they are meant; away again where it says so already. */
  async #vary() {
    if (!this.#varied.hidden) return this.#unvary();
    const offers = await this.#offers().catch(() => /** @type {ImageOffer[]} */ ([]));
    const price = priceText(offers.find(({ provider }) => provider === this.#image.provider) ?? offers[0], VARIATIONS);
    const what = `${VARIATIONS} more pictures of the same words, each drawn anew with another seed. This picture itself is no part of it.${price}`;
    const make = element("button", { class: "button primary small", type: "button", onclick: () => void this.#do(() => this.#makeVariations()) }, `Make ${VARIATIONS}`);
    const no = element("button", { class: "text-button", type: "button", onclick: () => this.#unvary() }, "Not now");
    this.#varied.replaceChildren(element("p", {}, what), element("div", { class: "image-actions" }, no, make));
    this.#varied.hidden = false;
    this.#show();
    make.focus();
  }

  #unvary() {
    this.#varied.hidden = true;
    this.#show();
    /** @type {HTMLElement|null} */ (this.#foot.querySelector('[data-key="vary"]'))?.focus();
  }

  async #makeVariations() {
    const { images, refused } = await this.#image.variations(VARIATIONS);
    this.#varied.hidden = true;
    this.#show();
    if (refused === null) announce(`${VARIATIONS} variations are being made`);
    else if (images.length === 0) throw refused;
    else notice(`${images.length} of ${VARIATIONS} variations ${images.length === 1 ? "is" : "are"} being made. ${imageErrorText(refused)}`);
  }

  /** @param {() => Promise<unknown>} act */
  async #do(act) {
    try {
      this.#inert(true);
      await act();
    } catch (error) {
      notice(imageErrorText(error));
    } finally {
      this.#inert(false);
    }
  }

  /** @param {boolean} inert */
  #inert(inert) {
    for (const part of [this.#foot, this.#varied]) part.toggleAttribute("inert", inert);
  }

  close() {
    this.#off();
  }
}

/** How far it is; without an end where that is not known. @param {Image} image */
function bar({ progress }) {
  const made = element("progress", { max: "1", "aria-label": "Being made" });
  if (progress !== null) made.value = progress;
  return made;
}
