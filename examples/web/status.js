/**
 * What somebody is doing meanwhile, in a call: "be right back" and the like, chosen beside the raised hand and shown at their
 * tile until it is cleared. Which there are is the embedder's to say; these are the ones that examples/sfu.rs allows.
 */
import { byId, element } from "./dom.js";

/** @typedef {import("./ringback/ringback.js").Room} Room */

/** By id: how it looks, what it says, and its key. @type {Map<string, {sign: string, words: string, key?: string}>} */
const STATUSES = new Map([
  ["brb", { sign: "🚶", words: "Be right back", key: "b" }],
  ["away", { sign: "🌙", words: "Away" }],
  ["listening", { sign: "🎧", words: "Just listening" }],
]);

/** One that this page does not know is shown by its id. @param {string} id */
export const statusOf = (id) => STATUSES.get(id) ?? { sign: "💬", words: id };

export class StatusView {
  /** @type {Room|undefined} */
  #room;
  /** @type {(() => void)[]} */
  #off = [];
  #sign = element("span", { "aria-hidden": "true" });
  #words = element("span", {});
  #toggle = element(
    "button",
    { class: "reaction-hand status-toggle", type: "button", "aria-expanded": "false", "aria-controls": "status-row", title: "What you are doing", onclick: () => this.open(Boolean(this.#row.hidden)) },
    this.#sign,
    this.#words,
  );
  #row = element("div", { id: "status-row", class: "status-row", role: "group", "aria-label": "What you are doing", hidden: true });

  /** The bar of reactions is there already: this stands beside its raised hand. */
  constructor() {
    const bar = byId("reaction-bar");
    bar.querySelector(".reaction-hand")?.after(this.#toggle);
    bar.prepend(this.#row);
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Room} room */
  show(room) {
    this.hide();
    this.#room = room;
    const show = () => this.#show();
    this.#off = [room.reactions.on("statuses", show), room.reactions.on("controls", show)];
    this.#show();
  }

  hide() {
    for (const off of this.#off.splice(0)) off();
    this.#room = undefined;
    this.open(false);
  }

  /** @param {boolean} shown */
  open(shown) {
    if (!shown && this.#row.contains(document.activeElement)) this.#toggle.focus();
    this.#row.hidden = !shown;
    this.#toggle.setAttribute("aria-expanded", String(shown));
    if (shown) /** @type {HTMLElement|null} */ (this.#row.querySelector("[aria-pressed=true]") ?? this.#row.querySelector("button"))?.focus();
  }

  /** Our own. @returns {string|undefined} */
  get #mine() {
    const { me, reactions } = this.#room ?? {};
    return me === undefined ? undefined : reactions?.statuses.get(me)?.status;
  }

  /** Sets one, or clears it where it is set. @param {string} id */
  choose(id) {
    this.#room?.reactions.setStatus(this.#mine === id ? null : id);
    this.open(false);
  }

  #show() {
    const room = this.#room;
    if (!room) return;
    const mine = this.#mine;
    const { mode, who, can } = room.reactions;
    this.#toggle.hidden = mode === "off" || !can.hand || !(who === "everyone" || can.host);
    if (this.#toggle.hidden) this.open(false);
    this.#sign.textContent = mine === undefined ? "💬" : statusOf(mine).sign;
    this.#words.textContent = mine === undefined ? "Status" : statusOf(mine).words;
    this.#toggle.toggleAttribute("data-set", mine !== undefined);
    this.#row.replaceChildren(
      ...[...STATUSES].map(([id, { sign, words, key }]) =>
        element(
          "button",
          { class: "status", type: "button", "data-status": id, "aria-pressed": String(mine === id), ...(key && { "aria-keyshortcuts": key.toUpperCase(), title: `${words} (${key.toUpperCase()})` }), onclick: () => this.choose(id) },
          element("span", { "aria-hidden": "true" }, sign),
          words,
        ),
      ),
    );
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, [contenteditable]");
    if (!this.#room?.me || this.#toggle.hidden || typing || event.repeat || document.querySelector("dialog[open]")) return;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    for (const [id, { key }] of STATUSES) if (event.key === key) this.choose(id);
  }
}
