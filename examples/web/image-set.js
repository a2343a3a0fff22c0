/** Variations as one set: their pictures side by side under the words they were asked for with, and the chosen one large below them, with all that can be done with it. */
import { element } from "./dom.js";
import { failureText, progressText } from "./image-words.js";
import { timeOf } from "./note-words.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */
/** @typedef {import("./image-card.js").ImageCard} ImageCard */
/** @typedef {{image: Image, root: HTMLElement, button: HTMLButtonElement, off: () => void}} Tile */

export class ImageSet {
  root;
  #tiles = element("div", { class: "image-set", role: "group" });
  /** In the order in which they were asked for. @type {Tile[]} */
  #shown = [];
  /** Shown large. @type {Tile|undefined} */
  #chosen;

  /** @param {Image} first one of them */
  constructor(first) {
    const who = `${first.isOwn ? "You" : first.from.name || first.from.user} asked for variations `;
    const by = element("p", { class: "image-by" }, who, element("span", { class: "entry-time" }, timeOf(first.createdAt)));
    const prompt = element("p", { class: "image-prompt", title: first.prompt, "data-again": true }, first.prompt);
    this.#tiles.setAttribute("aria-label", `Variations: ${first.prompt}`);
    const card = element("div", { class: "image-set-card" }, prompt, this.#tiles);
    this.root = element("li", { class: "entry", "data-side": first.isOwn ? "right" : "left" }, by, card);
    this.#tiles.addEventListener("keydown", (event) => this.#move(event));
  }

  get size() {
    return this.#shown.length;
  }

  /** @param {Image} image @param {ImageCard} card */
  add(image, card) {
    const button = element("button", { class: "image-choose", type: "button", onclick: () => this.#choose(this.#chosen?.image === image ? undefined : image) });
    const root = element("div", { class: "image-tile", "data-image": image.id }, card.root, button);
    // Its place does not change when the picture comes.
    root.style.setProperty("--shape", `${image.width || 1} / ${image.height || 1}`);
    const tile = { image, root, button, off: image.on("change", () => this.#label()) };
    this.#shown = [...this.#shown, tile].sort((a, b) => a.image.createdAt - b.image.createdAt || (a.image.id < b.image.id ? -1 : 1));
    const next = this.#shown[this.#shown.indexOf(tile) + 1];
    this.#tiles.insertBefore(root, next?.root ?? null);
    this.#label();
  }

  /** @param {Image} image */
  remove(image) {
    const gone = this.#shown.find((tile) => tile.image === image);
    if (!gone) return;
    const hadFocus = gone.root.contains(document.activeElement);
    gone.off();
    gone.root.remove();
    this.#shown = this.#shown.filter((tile) => tile !== gone);
    if (this.#chosen === gone) this.#chosen = undefined;
    this.#label();
    if (hadFocus) this.#shown[0]?.button.focus();
  }

  /** @param {Image|undefined} image */
  #choose(image) {
    this.#chosen = this.#shown.find((tile) => tile.image === image);
    this.#label();
    // What is no picture cannot be pressed once more; what can be done with it can.
    if (this.#chosen && this.#chosen.image.state !== "posted") /** @type {HTMLElement|null} */ (this.#chosen.root.querySelector(".card-foot button"))?.focus();
    this.#chosen?.root.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  #label() {
    const count = this.#shown.length;
    this.#tiles.dataset.count = String(count);
    this.#tiles.toggleAttribute("data-has-chosen", this.#chosen !== undefined);
    this.#shown.forEach((tile, at) => {
      const { image, root, button } = tile;
      const chosen = tile === this.#chosen;
      root.toggleAttribute("data-chosen", chosen || count === 1);
      button.hidden = count === 1;
      const state = image.state === "posted" ? "" : `. ${image.isOver ? failureText(image) : progressText(image)}`;
      button.setAttribute("aria-label", `Variation ${at + 1} of ${count}${state}`);
      button.setAttribute("aria-expanded", String(chosen));
      button.title = chosen ? "Back among the others" : "Show it large";
    });
  }

  /** Arrows go from one to the next. @param {KeyboardEvent} event */
  #move(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const at = this.#shown.findIndex(({ button }) => button === event.target);
    if (event.key === "Escape" && this.#chosen) {
      const { button } = this.#chosen;
      this.#choose(undefined);
      button.focus();
    } else if (step && at >= 0) this.#shown[(at + step + this.#shown.length) % this.#shown.length]?.button.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  close() {
    for (const { off } of this.#shown) off();
  }
}
