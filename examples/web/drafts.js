/** Notes that were recorded and neither sent nor discarded: found again after a reload, or kept for later. */
import { avatar, byId, element } from "./dom.js";
import { NoteCard } from "./note-card.js";
import { dayAndTime, kindName, recipients } from "./note-words.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {import("./ringback/ringback.js").Session} Session */

const section = byId("drafts");
const list = byId("drafts-list");

export class Drafts {
  /** @type {Session|undefined} */
  #session;
  /** @type {Map<string, {root: HTMLElement, card: NoteCard}>} */
  #items = new Map();
  #elsewhere;

  /** @param {() => Note|null} elsewhere the note that is on the screen already */
  constructor(elsewhere) {
    this.#elsewhere = elsewhere;
  }

  /** @param {Session} session */
  follow(session) {
    this.#session = session;
    for (const what of /** @type {const} */ (["countdown", "draft", "sent", "discarded", "expired"])) {
      session.notes.on(what, () => this.show());
    }
    this.show();
  }

  show() {
    const drafts = (this.#session?.notes.open ?? []).filter((note) => note.state === "draft" && note !== this.#elsewhere());
    for (const [id, { root, card }] of this.#items) {
      if (drafts.some((note) => note.id === id)) continue;
      card.close();
      root.remove();
      this.#items.delete(id);
    }
    for (const note of drafts) if (!this.#items.has(note.id)) this.#add(note);
    section.hidden = drafts.length === 0;
  }

  /** @param {Note} note */
  #add(note) {
    const card = new NoteCard(note);
    const name = recipients(note);
    const root = element(
      "li",
      { class: "letter draft", "data-note": note.id },
      element(
        "header",
        {},
        avatar(name),
        element(
          "div",
          { class: "row-text" },
          element("strong", {}, `For ${name}`),
          element("span", {}, `Unsent ${kindName(note)} · ${dayAndTime(note.createdAt)}`),
        ),
      ),
      card.root,
    );
    this.#items.set(note.id, { root, card });
    list.append(root);
  }

  /** Another user, or nobody. */
  clear() {
    this.#session = undefined;
    this.show();
  }
}
