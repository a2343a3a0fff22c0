/** The notes that wait for this user, unheard first, each with its player, the call it stands for, and a call back. */
import { avatar, byId, element, icon, notice } from "./dom.js";
import { meet, nameFor } from "./names.js";
import { NoteCard } from "./note-card.js";
import { dayAndTime } from "./note-words.js";
import { showUnheard } from "./title.js";
import { errorText, listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {{ring: (users: string[], kind: "voice"|"video") => void, threadLink: (note: Note) => string}} InboxActions */
/** @typedef {{note: Note, root: HTMLElement, card: NoteCard}} Item */

/** A screenful or two. */
const PAGE = 20;
/** Unheard ones are asked for by themselves, so that one of last month still comes first. */
const NEW_PAGE = 50;

const fresh = byId("inbox-new");
const heard = byId("inbox-heard");
const earlier = /** @type {HTMLButtonElement} */ (byId("inbox-earlier"));

export class Inbox {
  /** @type {Session|undefined} */
  #session;
  /** By note. @type {Map<string, Item>} */
  #items = new Map();
  /** @type {string|null} */
  #next = null;
  #loaded = false;
  #actions;

  /** @param {InboxActions} actions */
  constructor(actions) {
    this.#actions = actions;
    earlier.addEventListener("click", () => void this.#more());
  }

  /** @param {Session} session */
  follow(session) {
    this.#session = session;
    this.#loaded = false;
    const { notes } = session;
    const count = () => {
      showUnheard(notes.unheard);
      const badge = byId("badge");
      badge.textContent = notes.unheard > 99 ? "99+" : String(notes.unheard);
      badge.hidden = notes.unheard === 0;
      byId("badge-words").textContent = notes.unheard === 0 ? "" : `, ${notes.unheard} not heard yet`;
      byId("inbox-count").textContent = notes.unheard === 0 ? "Nothing new" : `${notes.unheard} not heard yet`;
    };
    notes.on("count", count);
    count();
    notes.on("sent", (note) => {
      if (note.isOwn) return;
      meet([note.from]);
      if (this.#loaded) this.#add(note, fresh, true);
      this.#sections();
    });
    notes.on("deleted", (note) => this.#remove(note));
  }

  /** Shown: unheard ones come first again. */
  async open() {
    const session = this.#session;
    if (!session) return;
    try {
      const [unheard, all] = await Promise.all([
        session.notes.inbox({ unheardOnly: true, limit: NEW_PAGE }),
        session.notes.inbox({ limit: PAGE }),
      ]);
      this.#next = all.next;
      this.#loaded = true;
      for (const note of [...unheard.notes, ...all.notes]) meet([note.from]);
      const listed = [...unheard.notes, ...all.notes.filter((note) => !unheard.notes.includes(note))];
      for (const { note } of [...this.#items.values()]) if (!listed.includes(note) && note.deleted) this.#remove(note);
      for (const note of listed) this.#add(note, note.isHeard ? heard : fresh, false);
    } catch (error) {
      notice(errorText(error));
    }
    this.#sections();
  }

  async #more() {
    const session = this.#session;
    if (!session || this.#next === null) return;
    earlier.disabled = true;
    try {
      const page = await session.notes.inbox({ before: this.#next, limit: PAGE });
      this.#next = page.next;
      for (const note of page.notes) this.#add(note, note.isHeard ? heard : fresh, false);
    } catch (error) {
      notice(errorText(error));
    }
    earlier.disabled = false;
    this.#sections();
  }

  /**
   * @param {Note} note
   * @param {HTMLElement} list
   * @param {boolean} first
   */
  #add(note, list, first) {
    const known = this.#items.get(note.id);
    // What plays stays where it is.
    if (known && (known.root.parentElement === list || known.card.player?.isPlaying)) return;
    const item = known ?? this.#item(note);
    this.#items.set(note.id, item);
    const after = first ? list.firstElementChild : [...list.children].find((other) => this.#sentAt(other) < (note.sentAt ?? 0));
    list.insertBefore(item.root, after ?? null);
  }

  /** @param {Element} root */
  #sentAt(root) {
    return this.#items.get(root.getAttribute("data-note") ?? "")?.note.sentAt ?? 0;
  }

  /** @param {Note} note @returns {Item} */
  #item(note) {
    const name = note.from.name || note.from.user;
    const kind = note.kind === "video" ? "video" : "voice";
    const card = new NoteCard(note);
    const back = element(
      "button",
      { class: "round-button", type: "button", "aria-label": `Call ${name} back, ${kind} call`, title: "Call back", onclick: () => this.#actions.ring([note.from.user], kind) },
      icon(kind === "video" ? "camera" : "call"),
    );
    const root = element(
      "li",
      { class: "letter", "data-note": note.id },
      element(
        "header",
        {},
        avatar(name),
        element(
          "a",
          { class: "row-text", href: this.#actions.threadLink(note), title: `All calls with ${name}` },
          element("strong", {}, name),
          element("span", {}, `${kind === "video" ? "Video" : "Voice"} note${andWho(note, this.#session?.user)} · ${dayAndTime(note.sentAt ?? note.createdAt)}`),
        ),
        back,
      ),
      card.root,
    );
    const unheard = () => root.toggleAttribute("data-unheard", !note.isHeard);
    note.on("change", unheard);
    unheard();
    return { note, root, card };
  }

  /** @param {Note} note */
  #remove(note) {
    const item = this.#items.get(note.id);
    if (!item) return;
    const next = /** @type {HTMLElement|null} */ (item.root.nextElementSibling ?? item.root.previousElementSibling);
    const hadFocus = item.root.contains(document.activeElement);
    item.card.close();
    item.root.remove();
    this.#items.delete(note.id);
    if (hadFocus) (next?.querySelector("button") ?? byId("inbox-title")).focus();
    this.#sections();
  }

  #sections() {
    byId("inbox-new-section").hidden = fresh.childElementCount === 0;
    byId("inbox-heard-section").hidden = heard.childElementCount === 0;
    byId("inbox-none").hidden = !this.#loaded || this.#items.size > 0;
    earlier.hidden = this.#next === null;
  }

  /** Another user, or nobody. */
  clear() {
    for (const { card, root } of this.#items.values()) {
      card.close();
      root.remove();
    }
    this.#items.clear();
    this.#loaded = false;
    showUnheard(0);
  }
}

/** Whom a note to several is for besides. @param {Note} note @param {string|undefined} me */
function andWho({ to }, me) {
  const others = to.filter(({ user }) => user !== me).map(({ user }) => nameFor(user));
  return others.length === 0 ? "" : ` to you and ${others.length > 2 ? `${others.length} others` : listed(others)}`;
}
