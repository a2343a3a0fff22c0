/** What is said to a note with an emoji: who said what, in chips that are pressed to say the same or to take it back, and a little row to choose another one from. */
import { announce, element, icon, notice } from "./dom.js";
import { nameFor } from "./names.js";
import { noteErrorText } from "./note-words.js";
import { EMOJI, emojiNamed } from "./reactions-emoji.js";
import { listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */

/** A row on a phone. */
const QUICK = EMOJI.slice(0, 6).map(([emoji]) => emoji);

export class NoteReactions {
  root = element("div", { class: "note-reactions", role: "group", "aria-label": "Reactions" });
  #note;
  #choosing = false;

  /** @param {Note} note */
  constructor(note) {
    this.#note = note;
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#choosing) return;
      event.stopPropagation();
      this.#choose(false);
    });
    this.root.addEventListener("focusout", ({ relatedTarget }) => {
      if (this.#choosing && relatedTarget instanceof Node && !this.root.contains(relatedTarget)) this.#choose(false, false);
    });
  }

  show() {
    const note = this.#note;
    this.root.hidden = note.state !== "sent" || note.deleted;
    const active = document.activeElement;
    const focused = active instanceof HTMLElement && this.root.contains(active) ? active.dataset.key : undefined;
    /** @type {Map<string, string[]>} */
    const said = new Map();
    for (const { user, emoji } of note.reactions) said.set(emoji, [...(said.get(emoji) ?? []), user]);
    const chips = [...said].map(([emoji, users]) => this.#chip(emoji, users));
    const label = note.reaction === null ? "React" : "React with something else";
    const open = element(
      "button",
      { class: "note-react", type: "button", "data-key": "react", "aria-label": label, title: label, "aria-expanded": String(this.#choosing), onclick: () => this.#choose(!this.#choosing) },
      icon("react"),
    );
    const choices = QUICK.map((emoji) =>
      element("button", { class: "note-choice", type: "button", "data-key": `choose ${emoji}`, "aria-label": emojiNamed(emoji), title: emojiNamed(emoji), "aria-pressed": String(emoji === note.reaction), onclick: () => void this.#say(emoji) }, emoji),
    );
    this.root.replaceChildren(...chips, open, ...(this.#choosing ? [element("div", { class: "note-choices" }, ...choices)] : []));
    if (focused) /** @type {HTMLElement} */ (this.root.querySelector(`[data-key="${focused}"]`) ?? open).focus();
  }

  /** @param {string} emoji @param {string[]} users */
  #chip(emoji, users) {
    const own = this.#note.reaction === emoji;
    const who = listed(users.map((user) => (user === this.#note.reader ? "you" : nameFor(user))));
    const count = users.length > 1 && element("span", {}, String(users.length));
    const label = `${emojiNamed(emoji)}: ${who}`;
    return element("button", { class: "note-said", type: "button", "data-key": `said ${emoji}`, "aria-pressed": String(own), "aria-label": label, title: label, onclick: () => void this.#say(emoji) }, emoji, count);
  }

  /** @param {boolean} choosing @param {boolean} [focus] */
  #choose(choosing, focus = true) {
    this.#choosing = choosing;
    this.show();
    if (focus) /** @type {HTMLElement|null} */ (this.root.querySelector(choosing ? ".note-choice" : ".note-react"))?.focus();
  }

  /** @param {string} emoji */
  async #say(emoji) {
    const taken = this.#note.reaction === emoji;
    if (this.#choosing) this.#choose(false);
    try {
      await this.#note.react(taken ? null : emoji);
      announce(taken ? "Reaction taken back" : `Reacted with ${emojiNamed(emoji)}`);
    } catch (error) {
      notice(noteErrorText(error));
    }
  }
}
