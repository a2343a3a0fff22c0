/**
 * Groups that there were calls with: who belongs to them, whether they talk right now, all their calls behind their name, and
 * a tap to ring everybody or to come in. The page remembers them; the server knows threads only.
 */
import { byId, element, faces, icon } from "./dom.js";
import { nameFor } from "./names.js";
import { briefly } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {"voice"|"video"} CallKind */
/** @typedef {{thread: string, users: string[], call?: Call, talking: number, off?: () => void}} Group `call`: the last one here; `talking`: how many are in it without us */
/** @typedef {{ring: (users: string[], kind: CallKind, thread: string) => void, enter: (call: Call) => void, link: (users: string[], thread: string) => string|null, changed: () => void}} GroupActions */

/** A convenience of this page, not a directory. */
const LIMIT = 6;
/** The server's own limit of a thread's id. */
const THREAD_BYTES = 256;

/**
 * The thread of a group on this page, the same for everyone in it: named by who they are. Where they are too many for one id,
 * the server makes a thread for each of their calls.
 * @param {string[]} users all of them, oneself included
 * @returns {string|undefined}
 */
export function groupThread(users) {
  const id = `group:${[...users].sort().join(",")}`;
  return new TextEncoder().encode(id).length <= THREAD_BYTES ? id : undefined;
}

export class Groups {
  /** The newest first. @type {Group[]} */
  #groups = [];
  /** @type {Session|null} */
  #session = null;
  #actions;

  /** @param {GroupActions} actions */
  constructor(actions) {
    this.#actions = actions;
  }

  /** @param {Session} session */
  follow(session) {
    this.#session = session;
    this.#groups = stored(session.user);
    session.on("people", () => this.#show());
    this.#show();
  }

  /** The session is over. */
  close() {
    for (const { off } of this.#groups) off?.();
    this.#groups = [];
    this.#session = null;
    this.#show();
  }

  /**
   * There is a call of a group, or it is over for us and may go on without us.
   * @param {Call} call
   * @param {string[]} users the others
   */
  met(call, users) {
    const { thread, room } = call;
    // A pair's thread stays theirs, whoever was invited into one of their calls.
    if (!this.#session || !thread || thread.startsWith("direct:") || users.length < 2) return;
    const known = this.#groups.find((group) => group.thread === thread);
    known?.off?.();
    /** @type {Group} */
    const group = { thread, users, call, talking: 0 };
    if (call.isOver && room.id) {
      group.off = this.#session.watch(room.id, ({ count }) => {
        // One alone in it waits, and does not talk.
        group.talking = count > 1 ? count : 0;
        this.#show();
      });
    }
    this.#groups = [group, ...this.#groups.filter((other) => other !== known)];
    for (const { off } of this.#groups.splice(LIMIT)) off?.();
    localStorage.setItem(keyOf(this.#session.user), JSON.stringify(this.#groups.map((one) => ({ thread: one.thread, users: one.users }))));
    this.#show();
  }

  /** How many talk in a thread now, in words; "" where nobody does. @param {string} thread */
  said(thread) {
    return talkOf(this.#groups.find((group) => group.thread === thread));
  }

  #show() {
    byId("groups-section").hidden = this.#groups.length === 0;
    const focused = document.activeElement?.getAttribute("data-key");
    const rows = this.#groups.map((group) => this.#row(group));
    byId("groups").replaceChildren(...rows);
    if (focused) /** @type {HTMLElement|null} */ (byId("groups").querySelector(`[data-key="${CSS.escape(focused)}"]`))?.focus();
    this.#actions.changed();
  }

  /** @param {Group} group */
  #row(group) {
    const { thread, users, call } = group;
    const names = users.map(nameFor);
    const name = briefly(names);
    const talk = talkOf(group);
    const text = [element("strong", {}, name), element("span", {}, talk || hereOf(users, this.#session))];
    const href = this.#actions.link(users, thread);
    /** @param {CallKind} kind @param {string} symbol */
    const ring = (kind, symbol) =>
      element(
        "button",
        { class: "round-button", type: "button", "aria-label": `${kind === "voice" ? "Voice" : "Video"} call with ${name}`, title: `${kind === "voice" ? "Voice" : "Video"} call`, "data-key": `${kind} ${thread}`, onclick: () => this.#actions.ring(users, kind, thread) },
        icon(symbol),
      );
    const enter = () => call && this.#actions.enter(call);
    return element(
      "li",
      { class: "row", "data-thread": thread, ...(talk && { "data-live": true }) },
      faces(names),
      href === null ? element("div", { class: "row-text" }, ...text) : element("a", { class: "row-text", href, title: `All calls with ${name}`, "data-key": `thread ${thread}` }, ...text),
      talk
        ? element("button", { class: "button primary small", type: "button", "data-key": `enter ${thread}`, "aria-label": `Come into the call with ${name}`, onclick: enter }, "Come in")
        : element("div", { class: "row-actions" }, ring("voice", "call"), ring("video", "camera")),
    );
  }
}

/** @param {Group|undefined} group */
function talkOf(group) {
  return group?.talking ? `${group.talking} people are talking` : "";
}

/**
 * How many of them are here.
 * @param {string[]} users
 * @param {Session|null|undefined} session
 */
export function hereOf(users, session) {
  const here = users.filter((user) => session?.people.some((person) => person.user === user)).length;
  return here === users.length ? "All here" : here === 0 ? "Nobody is here now" : `${here} of ${users.length} here`;
}

/** @param {string} user */
const keyOf = (user) => `ringback.groups.${user}`;

/** @param {string} user @returns {Group[]} */
function stored(user) {
  try {
    /** @type {unknown} */
    const kept = JSON.parse(localStorage.getItem(keyOf(user)) ?? "[]");
    if (!Array.isArray(kept)) return [];
    return kept
      .filter(({ thread, users }) => typeof thread === "string" && Array.isArray(users) && users.every((one) => typeof one === "string"))
      .map(({ thread, users }) => ({ thread, users, talking: 0 }))
      .slice(0, LIMIT);
  } catch {
    return [];
  }
}
