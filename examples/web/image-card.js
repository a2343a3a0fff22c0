/** An image on request wherever it is shown: on its way with how far it is, the picture with its prompt, or why there is none. */
import { element, notice } from "./dom.js";
import { sure } from "./note-card.js";
import { failureText, imageErrorText, progressText } from "./image-words.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */

export class ImageCard {
  root;
  #image;
  #change;
  #off;
  #picture = element("div", { class: "image-picture" });
  #foot = element("div", { class: "card-foot" });
  /** @type {HTMLImageElement|undefined} */
  #shown;

  /**
   * @param {Image} image
   * @param {(prompt: string) => void} change lets its prompt be changed
   */
  constructor(image, change) {
    this.#image = image;
    this.#change = change;
    this.root = element("div", { class: "image-card" }, element("p", { class: "image-prompt" }, image.prompt), this.#picture, this.#foot);
    this.#off = image.on("change", () => this.#show());
    this.#show();
  }

  #show() {
    const image = this.#image;
    this.root.dataset.state = image.state;
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
    const taken = image.isOwn ? [sure("Delete", "Delete for everybody?", () => void this.#do(() => image.delete()))] : [];
    return [...taken, button("change", "Change", () => this.#change(image.prompt)), again];
  }

  /** @param {() => Promise<unknown>} act */
  async #do(act) {
    try {
      this.#foot.toggleAttribute("inert", true);
      await act();
    } catch (error) {
      notice(imageErrorText(error));
    } finally {
      this.#foot.toggleAttribute("inert", false);
    }
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
