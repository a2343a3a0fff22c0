/**
 * Which page of the lobby is open: who is here or the notes, and the calls with somebody beside or over them. It stands in
 * the address, so that the browser's "back" works: `#people`, `#notes`, `#thread/<id>`; links may invite to a
 * call, `#call/<id>`, or to a voice chat, `#chat/<name>`.
 */
import { byId } from "./dom.js";

/** @typedef {{enterCall: (call: string) => void, openChat: (name: string) => void, openThread: (thread: string, users: string[]) => void, closeThread: () => void, openInbox: () => void}} PageActions */

const root = byId("lobby");

export class Pages {
  /** Who is in a thread, as far as a link told. @type {Map<string, string[]>} */
  #users = new Map();
  #list = "people";
  #actions;

  /** @param {PageActions} actions */
  constructor(actions) {
    this.#actions = actions;
    addEventListener("hashchange", () => this.apply());
  }

  /**
   * The address of the calls with these users.
   * @param {string} thread
   * @param {string[]} users
   */
  threadLink(thread, users) {
    this.#users.set(thread, users);
    return `#thread/${encodeURIComponent(thread)}`;
  }

  /** Shows what the address says. @returns {void} */
  apply() {
    const [page = "", id = ""] = location.hash.slice(1).split("/");
    // A link that invites: once, and then the page is the lobby's again.
    if ((page === "call" || page === "chat") && id) {
      history.replaceState(null, "", "#people");
      this.apply();
      if (page === "call") this.#actions.enterCall(decoded(id));
      else this.#actions.openChat(decoded(id));
      return;
    }
    const thread = page === "thread" ? decoded(id) : "";
    if (page === "people" || page === "notes" || page === "") this.#list = page || "people";
    root.dataset.list = this.#list;
    root.toggleAttribute("data-thread", thread !== "");
    for (const list of ["people", "notes"]) {
      const link = byId(`nav-${list}`);
      if (this.#list === list) link.setAttribute("aria-current", thread ? "true" : "page");
      else link.removeAttribute("aria-current");
    }
    byId("thread-back").setAttribute("href", `#${this.#list}`);
    if (thread) this.#actions.openThread(thread, this.#users.get(thread) ?? []);
    else this.#actions.closeThread();
    if (page === "notes") this.#actions.openInbox();
  }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
