/** Who is here, whom to ring, and what calls there were. */
import { avatar, byId, element, icon } from "./dom.js";
import { nameFor } from "./names.js";
import { ago, briefly, clock, endText, listed, nameOf } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {{user: string, name: string, state: "available"|"in_call"}} Person */
/** @typedef {"voice"|"video"} CallKind */
/** @typedef {{ring: (users: string[], kind: CallKind, thread?: string) => void, threadLink: (users: string[], thread?: string) => string|null}} LobbyActions */
/** @typedef {{users: string[], thread: string|undefined, name: string, kind: CallKind, incoming: boolean, missed: boolean, title: string, talkMs: number, at: number}} Recent */

/** A screenful; this is a convenience, not a call log. */
const RECENT_LIMIT = 6;

export class Lobby {
  /** @type {Person[]} */
  #people = [];
  /** Users chosen to be rung together. @type {Set<string>} */
  #chosen = new Set();
  /** @type {Recent[]} */
  #recent = [];
  #actions;

  /** @param {LobbyActions} actions */
  constructor(actions) {
    this.#actions = actions;
    byId("together-voice").addEventListener("click", () => this.#ringChosen("voice"));
    byId("together-video").addEventListener("click", () => this.#ringChosen("video"));
    byId("together-clear").addEventListener("click", () => this.#choose(null));
    byId("copy-link").addEventListener("click", () => copyLink());
    setInterval(() => this.#recent.length > 0 && this.#showRecent(), 30_000);
  }

  /** @param {string} name */
  setMe(name) {
    byId("me").replaceChildren(element("span", { class: "me-name" }, name), avatar(name));
  }

  /** @param {Person[]} people */
  setPeople(people) {
    this.#people = [...people].sort((a, b) => a.name.localeCompare(b.name));
    for (const user of this.#chosen) if (!people.some((person) => person.user === user)) this.#chosen.delete(user);
    this.#show();
  }

  #show() {
    // What has the focus keeps it when the list is drawn again.
    const focused = document.activeElement?.getAttribute("data-key");
    byId("people").replaceChildren(...this.#people.map((person) => this.#row(person)));
    if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.setAttribute("autofocus", "");
    if (focused) /** @type {HTMLElement|null} */ (document.querySelector("[autofocus]"))?.focus();
    byId("nobody").hidden = this.#people.length > 0;
    const names = this.#people.filter(({ user }) => this.#chosen.has(user)).map(({ name }) => name);
    byId("together").hidden = names.length === 0;
    byId("together-names").textContent = `Ring ${listed(names)}${names.length > 1 ? " together" : ""}`;
  }

  /** @param {Person} person */
  #row({ user, name, state }) {
    const busy = state === "in_call";
    const chosen = this.#chosen.has(user);
    const choose = element(
      "button",
      {
        class: "row-face",
        type: "button",
        "aria-pressed": String(chosen),
        "aria-label": `Choose ${name} for a call with several`,
        title: "Choose for a call with several",
        "data-key": `choose ${user}`,
        onclick: () => this.#choose(user),
      },
      avatar(name),
      element("span", { class: "row-check" }, icon("check")),
    );
    /** @param {CallKind} kind @param {string} symbol */
    const button = (kind, symbol) =>
      element(
        "button",
        {
          class: "round-button",
          type: "button",
          "aria-label": `${kind === "voice" ? "Voice" : "Video"} call with ${name}`,
          title: `${kind === "voice" ? "Voice" : "Video"} call`,
          "data-key": `${kind} ${user}`,
          onclick: () => this.#actions.ring([user], kind),
        },
        icon(symbol),
      );
    return element(
      "li",
      { class: "row", "data-state": state, "data-user": user },
      choose,
      this.#text([user], name, element("span", { class: "presence" }, busy ? "On a call" : "Available"), `thread ${user}`),
      element("div", { class: "row-actions" }, button("voice", "call"), button("video", "camera")),
    );
  }

  /**
   * A row's text, which leads to the calls with them.
   * @param {string[]} users
   * @param {string} name
   * @param {Node} below
   * @param {string} key
   * @param {string} [thread] of a group
   */
  #text(users, name, below, key, thread) {
    const href = this.#actions.threadLink(users, thread);
    const inner = [element("strong", {}, name), below];
    if (href === null) return element("div", { class: "row-text" }, ...inner);
    return element("a", { class: "row-text", href, title: `All calls with ${name}`, "data-key": key }, ...inner);
  }

  /** @param {string|null} user toggled; null chooses nobody */
  #choose(user) {
    if (user === null) this.#chosen.clear();
    else if (!this.#chosen.delete(user)) this.#chosen.add(user);
    this.#show();
  }

  /** @param {CallKind} kind */
  #ringChosen(kind) {
    const users = [...this.#chosen];
    this.#choose(null);
    if (users.length > 0) this.#actions.ring(users, kind);
  }

  /**
   * Keeps what became of a call.
   * @param {Call} call
   * @param {string[]} users the others
   */
  remember(call, users) {
    const { title } = endText(call);
    this.#recent.unshift({
      users,
      thread: users.length > 1 ? call.thread : undefined,
      name: users.length > 1 ? briefly(users.map(nameFor)) : nameOf(call),
      kind: call.kind,
      incoming: call.direction === "incoming",
      missed: title === "Missed call",
      title,
      talkMs: call.talkMs,
      at: Date.now(),
    });
    this.#recent.length = Math.min(this.#recent.length, RECENT_LIMIT);
    this.#showRecent();
  }

  #showRecent() {
    byId("recent-section").hidden = this.#recent.length === 0;
    byId("recent").replaceChildren(...this.#recent.map((recent) => this.#recentRow(recent)));
  }

  /** @param {Recent} recent */
  #recentRow({ users, thread, name, kind, incoming, missed, title, talkMs, at }) {
    const what = talkMs > 0 ? `${incoming ? "Incoming" : "Outgoing"}, ${clock(talkMs)}` : title;
    return element(
      "li",
      { class: "row", ...(missed && { "data-missed": "" }) },
      avatar(name),
      this.#text(users, name, element("span", {}, `${what} · ${ago(at)}`), `recent ${at}`, thread),
      element(
        "button",
        {
          class: "icon-button",
          type: "button",
          "aria-label": `Ring ${name} again`,
          title: "Ring again",
          onclick: () => this.#actions.ring(users, kind, thread),
        },
        icon(kind === "video" ? "camera" : "call"),
      ),
    );
  }
}

async function copyLink() {
  const label = byId("copy-link").querySelector("span");
  try {
    await navigator.clipboard.writeText(location.origin + location.pathname);
    if (label) label.textContent = "Copied";
  } catch {
    // Plain http has no clipboard: show it, to be copied by hand.
    if (label) label.textContent = location.origin + location.pathname;
  }
  setTimeout(() => {
    if (label) label.textContent = "Copy the link";
  }, 4000);
}
