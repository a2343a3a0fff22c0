/**
 * The calls with somebody, oldest first as in a chat: one row for each call, however many devices rang, with the note that
 * was left in it, and one for each image that was asked for.
 */
import { avatar, byId, element, faces, icon, notice } from "./dom.js";
import { hereOf } from "./groups.js";
import { ImageCard } from "./image-card.js";
import { ImageSet } from "./image-set.js";
import { ImagineLine } from "./imagine.js";
import { meet, nameFor } from "./names.js";
import { NoteCard } from "./note-card.js";
import { dayOf, entryText, timeOf } from "./note-words.js";
import { briefly, errorText } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */
/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {import("./ringback/notes.js").ThreadEntry} ThreadEntry */
/** @typedef {"voice"|"video"} CallKind */
/** @typedef {{ring: (users: string[], kind: CallKind, thread?: string) => void, said: (thread: string) => string}} ThreadActions `said`: how many talk in it now */
/** @typedef {{entry: ThreadEntry, note: Note|null, root: HTMLElement, card?: NoteCard}} Row */
/** `set`: the variations among which it stands, in whose row. @typedef {{image: Image, root: HTMLElement, card: ImageCard, set?: ImageSet}} ImageRow */

/** A screenful or two. */
const PAGE = 20;

const root = byId("thread");
const rows = byId("thread-rows");
const earlier = /** @type {HTMLButtonElement} */ (byId("thread-earlier"));
const scroller = byId("thread-scroll");

export class ThreadView {
  /** The thread that is open. */
  thread = "";
  /** The others in it. @type {string[]} */
  users = [];
  /** @type {Session|undefined} */
  #session;
  /** By call. @type {Map<string, Row>} */
  #rows = new Map();
  /** By image. @type {Map<string, ImageRow>} */
  #images = new Map();
  /** The rows that say which day it was. @type {Map<string, HTMLElement>} */
  #days = new Map();
  /** By whoever asked for them and the name of their set. @type {Map<string, ImageSet>} */
  #sets = new Map();
  #atEnd = true;
  #isShown = false;
  #line = new ImagineLine((prompt) => this.#imagine(prompt));
  /** @type {string|null} */
  #next = null;
  #actions;

  /** @param {ThreadActions} actions */
  constructor(actions) {
    this.#actions = actions;
    byId("thread-voice").addEventListener("click", () => this.#ring("voice"));
    byId("thread-video").addEventListener("click", () => this.#ring("video"));
    earlier.addEventListener("click", () => void this.#load(this.#next));
    scroller.addEventListener("scroll", () => {
      this.#atEnd = isAtEnd();
      this.#look();
    });
    new IntersectionObserver((seen) => {
      this.#isShown = seen.at(-1)?.isIntersecting ?? false;
      this.#look();
    }).observe(root);
    // Whoever looks at the end goes on doing so while a picture grows there.
    new ResizeObserver(() => this.#atEnd && (scroller.scrollTop = scroller.scrollHeight)).observe(rows);
  }

  /** Everybody in it; where their call goes on, that is coming in. @param {CallKind} kind */
  #ring(kind) {
    this.#actions.ring(this.users, kind, this.users.length > 1 ? this.thread : undefined);
  }

  /** @param {Session} session */
  follow(session) {
    this.#session = session;
    for (const what of /** @type {const} */ (["sent", "draft", "discarded", "expired", "deleted"])) {
      session.notes.on(what, (note) => {
        if (note.thread === this.thread) void this.reload();
      });
    }
    session.images.on("image", (image) => {
      if (image.thread === this.thread) this.#showImages([image]);
    });
    session.images.on("deleted", (image) => {
      const row = this.#images.get(image.id);
      row?.card.close();
      row?.set?.remove(image);
      this.#images.delete(image.id);
      if (row) this.#showImages([]);
    });
    session.on("people", () => this.showHead());
  }

  /** Says what is looked at, so that nobody is told of what they see: where something new comes, and not older calls. */
  #look() {
    this.#session?.notifications.lookAt(this.thread && this.#isShown && this.#atEnd ? this.thread : null);
  }

  /** @param {string} prompt */
  async #imagine(prompt) {
    if (!this.#session) throw new Error("there is no thread without a session");
    const image = await this.#session.images.ask(this.thread, prompt);
    if (image.thread === this.thread) this.#showImages([image]);
    return image;
  }

  /** @param {Image[]} images */
  #showImages(images) {
    this.#merge([], images);
    byId("thread-none").hidden = this.#rows.size + this.#images.size > 0;
  }

  /**
   * @param {string} thread
   * @param {string[]} users the others, as far as they are known already
   */
  open(thread, users) {
    if (this.thread === thread) return void this.reload();
    this.close();
    this.thread = thread;
    this.users = users;
    this.#atEnd = true;
    root.hidden = false;
    this.#look();
    this.showHead();
    root.setAttribute("aria-busy", "true");
    void this.#load(null);
    byId("thread-name").focus();
  }

  close() {
    this.thread = "";
    root.hidden = true;
    this.#look();
    for (const { card } of [...this.#rows.values(), ...this.#images.values()]) card?.close();
    for (const set of this.#sets.values()) set.close();
    this.#rows.clear();
    this.#images.clear();
    this.#sets.clear();
    this.#days.clear();
    this.#line.clear();
    rows.replaceChildren();
    byId("thread-none").hidden = true;
  }

  /** The newest calls again: one has ended, a note has come. */
  async reload() {
    if (this.thread && this.#session?.state === "open") await this.#load(null);
  }

  showHead() {
    if (!this.thread) return;
    const names = this.users.map(nameFor);
    const name = briefly(names) || "Calls";
    byId("thread-name").textContent = name;
    byId("thread-face").replaceChildren(names.length > 1 ? faces(names) : avatar(name));
    const group = names.length > 1;
    const there = this.#session?.people.find(({ user }) => (group ? this.users.includes(user) : user === this.users[0]));
    const talk = this.#actions.said(this.thread);
    const presence = byId("thread-presence");
    if (group) presence.textContent = talk || hereOf(this.users, this.#session);
    else presence.textContent = names.length === 0 ? "" : there ? (there.state === "in_call" ? "On a call" : "Available") : "Not here now";
    presence.dataset.state = group && there ? "available" : (there?.state ?? "away");
    root.toggleAttribute("data-group", group);
    for (const id of ["thread-voice", "thread-video"]) /** @type {HTMLButtonElement} */ (byId(id)).disabled = this.users.length === 0;
  }

  /** @param {string|null} before */
  async #load(before) {
    const { thread } = this;
    const session = this.#session;
    if (!session) return;
    try {
      earlier.disabled = true;
      const first = this.#rows.size === 0;
      const { entries, images, next } = await session.notes.thread(thread, { before, limit: PAGE });
      if (this.thread !== thread) return;
      for (const { call } of entries) meet([call.from, ...call.to]);
      meet(images.map(({ from }) => from));
      const [latest] = entries;
      if (this.users.length === 0 && latest) {
        const { from, to } = latest.call;
        const all = [from, ...to].map(({ user }) => user).filter((user) => user !== session.user);
        // A pair's, whoever was invited into the last call.
        const pair = all.find((user) => session.notes.threadWith(user) === thread);
        this.users = pair === undefined ? all : [pair];
      }
      // A reload reaches back as far as the first page; what is older stays as it is.
      if (before !== null || first) this.#next = next;
      const atEnd = isAtEnd();
      const height = scroller.scrollHeight;
      this.#merge(entries, images);
      if (before !== null) scroller.scrollTop += scroller.scrollHeight - height;
      else if (atEnd || first) scroller.scrollTop = scroller.scrollHeight;
      this.showHead();
    } catch (error) {
      if (this.thread === thread) notice(errorText(error));
    } finally {
      root.removeAttribute("aria-busy");
      earlier.disabled = false;
      earlier.hidden = this.#next === null;
      byId("thread-none").hidden = this.#rows.size + this.#images.size > 0;
    }
  }

  /** @param {ThreadEntry[]} entries @param {Image[]} images */
  #merge(entries, images) {
    for (const image of images) {
      if (!this.#images.has(image.id)) this.#images.set(image.id, this.#imageRow(image));
    }
    for (const entry of entries) {
      const old = this.#rows.get(entry.call.id);
      // What plays goes on playing: a row is made anew only where its note is another.
      if (old && old.note === shownNote(entry) && old.entry.outcome === entry.outcome) continue;
      old?.card?.close();
      this.#rows.set(entry.call.id, this.#row(entry));
    }
    const calls = [...this.#rows.values()].map(({ entry, root: row }) => ({ at: entry.placedAt, row }));
    const pictures = [...this.#images.values()].map(({ image, root: row }) => ({ at: image.createdAt, row }));
    const sorted = [...calls, ...pictures].sort((a, b) => a.at - b.at);
    /** A set has one row, where the first of it is. @type {Set<HTMLElement>} */
    const placed = new Set();
    /** @type {Node[]} */
    const shown = [];
    let day = "";
    for (const { at, row } of sorted) {
      if (placed.has(row)) continue;
      placed.add(row);
      const its = dayOf(at);
      if (its !== day) shown.push(this.#dayRow(its));
      day = its;
      shown.push(row);
    }
    // Nodes that stay are not touched: moving one would stop what plays in it, and take the focus from it.
    shown.forEach((node, at) => {
      if (rows.childNodes[at] !== node) rows.insertBefore(node, rows.childNodes[at] ?? null);
    });
    while (rows.childNodes.length > shown.length) rows.lastChild?.remove();
  }

  /** The same each time, so that what stands below it stays where it is. @param {string} day */
  #dayRow(day) {
    const row = this.#days.get(day) ?? element("li", { class: "thread-day" }, day.charAt(0).toUpperCase() + day.slice(1));
    this.#days.set(day, row);
    return row;
  }

  /** @param {Image} image @returns {ImageRow} */
  #imageRow(image) {
    const card = new ImageCard(image, {
      change: (prompt) => this.#line.change(prompt),
      offers: async () => (await this.#session?.images.offers()) ?? [],
    });
    if (image.set !== null) {
      const set = this.#setOf(image);
      set.add(image, card);
      return { image, root: set.root, card, set };
    }
    const what = image.againOf === null ? "a picture" : "another one";
    const who = `${image.isOwn ? "You" : image.from.name || image.from.user} asked for ${what} `;
    const by = element("p", { class: "image-by" }, who, element("span", { class: "entry-time" }, timeOf(image.createdAt)));
    const root = element("li", { class: "entry", "data-image": image.id, "data-side": image.isOwn ? "right" : "left" }, by, card.root);
    return { image, root, card };
  }

  /** @param {Image} image one of its */
  #setOf(image) {
    const name = JSON.stringify([image.from.user, image.set]);
    let set = this.#sets.get(name);
    if (!set || set.size === 0) {
      set?.close();
      set = new ImageSet(image);
      this.#sets.set(name, set);
    }
    return set;
  }

  /** @param {ThreadEntry} entry @returns {Row} */
  #row(entry) {
    const { title, missed, outgoing } = entryText(entry, this.#session?.user ?? "");
    const { kind, from } = entry.call;
    const by = !outgoing && this.users.length > 1 ? nameFor(from.user) : "";
    const note = shownNote(entry);
    const card = note ? new NoteCard(note) : undefined;
    const back = element(
      "button",
      { class: "icon-button", type: "button", "aria-label": `${outgoing ? "Call again" : "Call back"}, ${kind} call`, title: outgoing ? "Call again" : "Call back", onclick: () => this.#ring(kind) },
      icon(kind === "video" ? "camera" : "call"),
    );
    const made = element(
      "li",
      { class: "entry", "data-call": entry.call.id, "data-side": outgoing ? "right" : "left", ...(missed && { "data-missed": true }) },
      element(
        "div",
        { class: "entry-head" },
        element("span", { class: "entry-icon", "aria-hidden": "true" }, icon(kind === "video" ? "camera" : missed ? "missed" : "call")),
        element("p", {}, by && element("span", { class: "entry-by" }, by), element("strong", {}, title), element("span", { class: "entry-time" }, timeOf(entry.placedAt))),
        back,
      ),
      card?.root,
    );
    return { entry, note, root: made, ...(card && { card }) };
  }
}

/** What of an entry's note is shown: one that can be played. @param {ThreadEntry} entry */
function shownNote({ note }) {
  return note && !note.deleted && note.hasTake && (note.state === "sent" || note.state === "draft") ? note : null;
}

function isAtEnd() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
}
