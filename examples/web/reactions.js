/** Reactions and hands on the page of a call: the bar to react with, what floats up, and the queue of raised hands. */
import { byId, element, icon } from "./dom.js";
import { EMOJI, emojiNamed, isEmoji } from "./reactions-emoji.js";
import { BurstSummary } from "./reactions-summary.js";
import { listed } from "./words.js";

/** @typedef {import("./ringback/reactions.js").Burst} Burst */
/** @typedef {import("./ringback/ringback.js").Room} Room */

/** Keys 1 to 6. */
const QUICK = 6;
/** More at a time would only cover the faces; the rest is told by the number on one. */
const MAX_FLOATS = 30;
/** As long as the animation in reactions.css. */
const FLOAT_MS = 3_600;
/** Times that one reaction of a burst floats by itself. */
const SINGLES = 4;
const STORED = "ringback.recent-reactions";

export class ReactionsView {
  /** @type {Room|undefined} */
  #room;
  /** @type {(() => void)[]} */
  #off = [];
  #recent = recentReactions();
  #summary = new BurstSummary((text) => (this.#spoken.textContent = text));
  /** The end of a wait that the server asked for. */
  #waitUntil = 0;

  #toggle = element(
    "button",
    { id: "control-react", class: "control", type: "button", "aria-expanded": "false", "aria-controls": "reaction-bar", "aria-keyshortcuts": "R", title: "React (R)", onclick: () => this.open(Boolean(this.#bar.hidden)) },
    icon("react"),
    element("span", {}, "React"),
  );
  #hand = element(
    "button",
    { class: "reaction-hand", type: "button", "aria-pressed": "false", "aria-keyshortcuts": "U", title: "Raise hand (U)", onclick: () => this.toggleHand() },
    "✋",
    element("span", {}, "Raise hand"),
  );
  #quick = element("div", { class: "reaction-quick", role: "group", "aria-label": "React" });
  #search = element("input", { type: "search", class: "reaction-search", placeholder: "Find an emoji", "aria-label": "Find an emoji", autocomplete: "off", oninput: () => this.#find(), onkeydown: (event) => this.#searchKey(/** @type {KeyboardEvent} */ (event)) });
  #found = element("div", { class: "reaction-found", role: "group", "aria-label": "Found emoji", hidden: true });
  #wait = element("p", { class: "reaction-wait", role: "status", hidden: true });
  #bar = element(
    "div",
    { id: "reaction-bar", class: "reaction-bar", role: "group", "aria-label": "Reactions", hidden: true },
    this.#found,
    element("div", { class: "reaction-row" }, this.#hand, this.#quick, this.#search),
    this.#wait,
  );
  #floats = element("div", { class: "reaction-floats" });
  #names = element("p", { class: "reaction-names", role: "status", hidden: true });
  #queue = element("section", { class: "hand-queue", "aria-label": "Raised hands", hidden: true });
  #spoken = element("div", { class: "visually-hidden reaction-spoken", "aria-live": "polite" });
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #namesTimer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #waitTimer;

  constructor() {
    byId("control-devices").before(this.#toggle);
    byId("call").append(this.#floats, this.#names, this.#queue, this.#bar, this.#spoken);
    document.addEventListener("keydown", (event) => this.#key(event));
    this.#fillQuick();
  }

  /** @param {Room} room */
  show(room) {
    this.hide();
    this.#room = room;
    const { reactions } = room;
    this.#off = [
      reactions.on("reactions", (burst) => this.#burst(burst)),
      reactions.on("hands", () => this.#hands()),
      reactions.on("controls", () => this.#controls()),
      reactions.on("refused", ({ code, message, retryAfterMs }) => this.#refused(code, message, retryAfterMs)),
    ];
    this.#hands();
    this.#controls();
  }

  hide() {
    for (const off of this.#off.splice(0)) off();
    this.#room = undefined;
    this.#floats.replaceChildren();
    this.#queue.hidden = true;
    this.#names.hidden = true;
    this.#summary.clear();
    this.open(false);
  }

  /** @param {boolean} shown */
  open(shown) {
    if (this.#bar.hidden === !shown) return;
    this.#bar.hidden = !shown;
    this.#toggle.setAttribute("aria-expanded", String(shown));
    if (shown) {
      this.#fillQuick();
      this.#quick.querySelector("button")?.focus();
    } else {
      this.#search.value = "";
      this.#find();
      if (this.#bar.contains(document.activeElement)) this.#toggle.focus();
    }
  }

  toggleHand() {
    const room = this.#room;
    if (!room?.me) return;
    room.reactions.raiseHand(!room.reactions.isRaised(room.me));
  }

  /** @param {string} reaction */
  react(reaction) {
    if (!this.#room || performance.now() < this.#waitUntil) return;
    this.#room.reactions.react(reaction);
    this.#recent = [reaction, ...this.#recent.filter((other) => other !== reaction)].slice(0, QUICK);
    localStorage.setItem(STORED, JSON.stringify(this.#recent));
  }

  #fillQuick() {
    const buttons = this.#recent.map((emoji, index) => this.#button(emoji, `${emojiNamed(emoji)} (${index + 1})`));
    this.#quick.replaceChildren(...buttons);
  }

  /** @param {string} emoji @param {string} label */
  #button(emoji, label) {
    return element("button", { type: "button", class: "reaction", "aria-label": label, title: label, onclick: () => this.react(emoji) }, emoji);
  }

  #find() {
    const wanted = this.#search.value.trim().toLowerCase();
    const found = EMOJI.filter(([, words]) => words.includes(wanted)).map(([emoji]) => emoji);
    const typed = this.#search.value.trim();
    if (isEmoji(typed) && !found.includes(typed)) found.unshift(typed);
    this.#found.hidden = wanted === "";
    const nothing = element("p", {}, "Nothing found. Any emoji can be pasted here.");
    this.#found.replaceChildren(...(found.length ? found.slice(0, 40).map((emoji) => this.#button(emoji, emojiNamed(emoji))) : [nothing]));
  }

  /** @param {KeyboardEvent} event */
  #searchKey(event) {
    event.stopPropagation();
    if (event.key === "Enter") this.#found.querySelector("button")?.click();
    if (event.key === "Escape") this.open(false);
  }

  /** @param {Burst} burst */
  #burst(burst) {
    this.#summary.add(burst);
    for (const { reaction, count } of burst.counts) {
      const names = burst.by.filter((by) => by.reaction === reaction).map(({ name }) => name);
      const singles = count <= SINGLES ? count : 1;
      for (let single = 0; single < singles; single++) this.#float(reaction, count <= SINGLES ? 1 : count, names);
    }
  }

  /** @param {string} reaction @param {number} count @param {string[]} names */
  #float(reaction, count, names) {
    while (this.#floats.childElementCount >= MAX_FLOATS) this.#floats.firstElementChild?.remove();
    const who = namesText(names, count);
    // For pointers only: readers are told in sum, and the keyboard has nothing to catch that flies.
    const made = element(
      "button",
      { type: "button", class: "float", tabindex: "-1", "aria-hidden": "true", "data-reaction": reaction, title: who, onclick: () => this.#name(`${reaction} ${who}`) },
      shown(reaction),
      count > 1 && element("b", {}, `×${count}`),
    );
    made.style.setProperty("--x", String(Math.random()));
    made.style.setProperty("--drift", String(Math.random() * 2 - 1));
    this.#floats.append(made);
    setTimeout(() => made.remove(), FLOAT_MS);
  }

  /** @param {string} text */
  #name(text) {
    clearTimeout(this.#namesTimer);
    this.#names.textContent = text;
    this.#names.hidden = false;
    this.#namesTimer = setTimeout(() => (this.#names.hidden = true), 4_000);
  }

  #hands() {
    const room = this.#room;
    if (!room) return;
    const { hands, can } = room.reactions;
    const mine = room.me !== undefined && room.reactions.isRaised(room.me);
    this.#hand.setAttribute("aria-pressed", String(mine));
    const label = this.#hand.querySelector("span");
    if (label) label.textContent = mine ? "Lower hand" : "Raise hand";
    this.#queue.hidden = hands.length === 0;
    const rows = hands.map(({ participant, name }) => {
      const who = participant === room.me ? "You" : name;
      const lower = () => (participant === room.me ? room.reactions.raiseHand(false) : room.reactions.lower(participant));
      const may = can.host || participant === room.me;
      return element(
        "li",
        { "data-participant": participant },
        element("span", {}, who),
        may && element("button", { type: "button", class: "icon-button", "aria-label": `Lower ${who === "You" ? "your" : `${who}’s`} hand`, onclick: lower }, icon("close")),
      );
    });
    const all = can.host && hands.length > 1 && element("button", { type: "button", class: "link", onclick: () => room.reactions.lower() }, "Lower all");
    this.#queue.replaceChildren(element("h2", {}, `✋ ${hands.length} raised`), element("ol", {}, ...rows), all || "");
    this.#summary.hands(hands.map(({ participant, name }) => (participant === room.me ? "You" : name)));
  }

  #controls() {
    const room = this.#room;
    if (!room) return;
    const { mode, who, can } = room.reactions;
    const admitted = who === "everyone" || can.host;
    const react = mode === "all" && admitted && can.react;
    const hand = mode !== "off" && admitted && can.hand;
    this.#toggle.hidden = !react && !hand;
    this.#quick.hidden = this.#search.hidden = !react;
    this.#hand.hidden = !hand;
    if (this.#toggle.hidden) this.open(false);
    this.#hands();
  }

  /** @param {string} code @param {string} message @param {number|undefined} retryAfterMs */
  #refused(code, message, retryAfterMs) {
    const wait = retryAfterMs ?? 0;
    this.#waitUntil = performance.now() + (code === "rate_limited" ? wait : 0);
    this.#wait.textContent = code === "rate_limited" ? "A moment, please: that was a lot at once." : `Not possible here: ${message}.`;
    this.#wait.hidden = false;
    clearTimeout(this.#waitTimer);
    this.#waitTimer = setTimeout(() => (this.#wait.hidden = true), Math.max(1_500, wait));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, [contenteditable]");
    if (!this.#room || typing || document.querySelector("dialog[open]")) return;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "Escape" && !this.#bar.hidden) {
      // One step back at a time: the call goes on.
      event.stopImmediatePropagation();
      return this.open(false);
    }
    if (event.repeat) return;
    if (event.key === "r" && !this.#toggle.hidden) this.open(Boolean(this.#bar.hidden));
    else if (event.key === "u" && !this.#hand.hidden) this.toggleHand();
    else if (/^[1-6]$/.test(event.key) && !this.#quick.hidden) this.react(this.#recent[Number(event.key) - 1] ?? "👍");
  }
}

/** @param {string[]} names @param {number} count */
function namesText(names, count) {
  const unique = [...new Set(names)];
  const others = count - unique.length;
  if (unique.length === 0) return `${count} ${count === 1 ? "person" : "times"}`;
  return others > 0 ? `${unique.slice(0, 3).join(", ")} and others` : listed(unique.slice(0, 6));
}

/** How a reaction looks: an emoji as itself, a picture of the embedder's own by its name. @param {string} reaction */
function shown(reaction) {
  return reaction.startsWith(":") ? reaction.slice(1, -1) : reaction;
}

/** @returns {string[]} */
function recentReactions() {
  const usual = EMOJI.slice(0, QUICK).map(([emoji]) => emoji);
  try {
    /** @type {unknown} */
    const stored = JSON.parse(localStorage.getItem(STORED) ?? "[]");
    if (!Array.isArray(stored)) return usual;
    const kept = stored.filter((emoji) => typeof emoji === "string" && isEmoji(emoji));
    return [...new Set([...kept, ...usual])].slice(0, QUICK);
  } catch {
    return usual;
  }
}
