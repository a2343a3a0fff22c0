/** What is said to a note or a picture with an emoji: who said what, in chips that are pressed to say the same or to take it back, and a little row to choose another one from. */
import { announce, element, icon, notice } from "./dom.js";
import { meet, nameFor } from "./names.js";
import { EMOJI, emojiNamed } from "./reactions-emoji.js";
import { listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Note|import("./ringback/ringback.js").Image} Thing */

/** A row on a phone. */
const QUICK = EMOJI.slice(0, 6).map(([emoji]) => emoji);

export class ThreadReactions {
  root = element("div", { class: "said", role: "group", "aria-label": "Reactions" });
  #thing;
  #errorText;
  #choosing = false;

  /**
   * @param {Thing} thing
   * @param {(error: unknown) => string} errorText what is said of an error of its
   */
  constructor(thing, errorText) {
    this.#thing = thing;
    this.#errorText = errorText;
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#choosing) return;
      event.stopPropagation();
      this.#choose(false);
    });
    this.root.addEventListener("focusout", ({ relatedTarget }) => {
      if (this.#choosing && relatedTarget instanceof Node && !this.root.contains(relatedTarget)) this.#choose(false, false);
    });
  }

  /** @param {boolean} possible something can be said to it now */
  show(possible) {
    const thing = this.#thing;
    this.root.hidden = !possible;
    // Whoever has reacted may have left since.
    meet(thing.reactions);
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && this.root.contains(active) ? active.dataset.key : undefined;
    /** @type {Map<string, string[]>} */
    const said = new Map();
    for (const { user, emoji } of thing.reactions) said.set(emoji, [...(said.get(emoji) ?? []), user]);
    const chips = [...said].map(([emoji, users]) => this.#chip(emoji, users));
    const label = thing.reaction === null ? "React" : "React with something else";
    const open = element(
      "button",
      { class: "said-add", type: "button", "data-key": "react", "aria-label": label, title: label, "aria-expanded": String(this.#choosing), onclick: () => this.#choose(!this.#choosing) },
      icon("react"),
    );
    const choices = QUICK.map((emoji) =>
      element("button", { class: "said-choice", type: "button", "data-key": `choose ${emoji}`, "aria-label": emojiNamed(emoji), title: emojiNamed(emoji), "aria-pressed": String(emoji === thing.reaction), onclick: () => void this.#say(emoji) }, emoji),
    );
    this.root.replaceChildren(...chips, open, ...(this.#choosing ? [element("div", { class: "said-choices" }, ...choices)] : []));
    if (focused) /** @type {HTMLElement} */ (this.root.querySelector(`[data-key="${focused}"]`) ?? open).focus();
  }

  /** @param {string} emoji @param {string[]} users */
  #chip(emoji, users) {
    const own = this.#thing.reaction === emoji;
    const who = listed(users.map((user) => (user === this.#thing.reader ? "you" : nameFor(user))));
    const count = users.length > 1 && element("span", {}, String(users.length));
    const label = `${emojiNamed(emoji)}: ${who}`;
    return element("button", { class: "said-chip", type: "button", "data-key": `said ${emoji}`, "aria-pressed": String(own), "aria-label": label, title: label, onclick: () => void this.#say(emoji) }, emoji, count);
  }

  /** @param {boolean} choosing @param {boolean} [focus] */
  #choose(choosing, focus = true) {
    this.#choosing = choosing;
    this.show(true);
    if (focus) /** @type {HTMLElement|null} */ (this.root.querySelector(choosing ? ".said-choice" : ".said-add"))?.focus();
  }

  /** @param {string} emoji */
  async #say(emoji) {
    const taken = this.#thing.reaction === emoji;
    if (this.#choosing) this.#choose(false);
    try {
      await this.#thing.react(taken ? null : emoji);
      announce(taken ? "Reaction taken back" : `Reacted with ${emojiNamed(emoji)}`);
    } catch (error) {
      notice(this.#errorText(error));
    }
  }
}
