/**
 * Voice chats that nobody rings: who is in them, one tap to go in, another to leave, while the rest of the page goes on. A
 * chat is its name: whoever opens one by the same name, or by its link, finds the others in it.
 */
import { announce, avatar, byId, element, faces, icon, notice, setIcon } from "./dom.js";
import { MICROPHONE_TAKEN, errorText, listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").LocalMedia} LocalMedia */
/** @typedef {import("./ringback/ringback.js").Room} Room */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {import("./ringback/protocol.js").Presence} Presence */
/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {{name: string, presence: Presence, root: HTMLElement, face: HTMLElement, said: HTMLElement, button: HTMLButtonElement, off: () => void}} Chat */

/** The one that is always there. */
const FIRST = "Lounge";
const STORED = "ringback.chats";
/** Remembered besides: the page is no directory, and a server tells a device of so many rooms at most. */
const LIMIT = 6;
/** In UTF-16 units: with `chat/` before it, a room's id is within its 128 bytes in any script. */
const NAME_LENGTH = 40;

const list = byId("chats");
const dock = byId("dock");
const mic = byId("dock-mic");
const field = /** @type {HTMLInputElement} */ (byId("chat-name"));

/** @param {string} text */
const tidy = (text) => text.normalize("NFC").trim().replace(/\s+/gu, " ").slice(0, NAME_LENGTH).trim();
/** @param {string} name */
const roomOf = (name) => `chat/${name.toLowerCase()}`;

export class Lounge {
  /** The room that we are in. @type {Room|null} */
  room = null;
  /** The name of the chat that we are in. */
  name = "";
  /** By room. @type {Map<string, Chat>} */
  #chats = new Map();
  /** @type {Session|null} */
  #session = null;
  #media;
  #devices;
  #entering;
  /** @type {(() => void)[]} */
  #off = [];

  /**
   * @param {LocalMedia} media
   * @param {Devices} devices
   * @param {() => void} entering called before a chat is entered, to silence what plays
   */
  constructor(media, devices, entering) {
    this.#media = media;
    this.#devices = devices;
    this.#entering = entering;
    byId("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = tidy(field.value);
      if (!name) return;
      field.value = "";
      this.open(name);
      this.enter(name);
    });
    mic.addEventListener("click", () => this.toggleMicrophone());
    byId("dock-leave").addEventListener("click", () => this.leave());
    byId("play-blocked-dock").addEventListener("click", () => {
      this.room?.play();
      byId("play-blocked-dock").hidden = true;
    });
    byId("dock-link").addEventListener("click", () => this.#copy());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Session} session */
  follow(session) {
    this.#session = session;
    for (const name of [FIRST, ...stored()]) this.#add(name);
  }

  /** The session is over. */
  close() {
    this.leave();
    this.#session = null;
    for (const { root, off } of this.#chats.values()) {
      off();
      root.remove();
    }
    this.#chats.clear();
  }

  /**
   * Puts a chat on the list, as its link does; going in is another tap.
   * @param {string} given
   */
  open(given) {
    const name = tidy(given);
    if (!name || !this.#session) return;
    const known = [...this.#chats.values()].map((chat) => chat.name).filter((other) => other !== FIRST && roomOf(other) !== roomOf(name));
    if (roomOf(name) !== roomOf(FIRST)) localStorage.setItem(STORED, JSON.stringify([name, ...known].slice(0, LIMIT)));
    const { root, button } = this.#add(name);
    root.scrollIntoView({ block: "nearest" });
    button.focus();
  }

  /** @param {string} name @returns {Chat} */
  #add(name) {
    const id = roomOf(name);
    const known = this.#chats.get(id);
    if (known) return known;
    const face = element("div", {});
    const said = element("span", {});
    const button = element("button", { type: "button", class: "button small", onclick: () => (this.name === name ? this.leave() : this.enter(name)) });
    const root = element("li", { class: "row", "data-chat": name }, face, element("div", { class: "row-text" }, element("strong", {}, name), said), button);
    const presence = { count: 0, people: [] };
    const off = /** @type {Session} */ (this.#session).watch(id, (now) => {
      chat.presence = now;
      this.#show(chat);
    });
    /** @type {Chat} */
    const chat = { name, presence, root, face, said, button, off };
    this.#chats.set(id, chat);
    list.append(root);
    this.#show(chat);
    return chat;
  }

  /** @param {Chat} chat */
  #show({ name, presence, root, face, said, button }) {
    const { count, people } = presence;
    const inside = this.name === name;
    root.toggleAttribute("data-live", count > 0);
    root.toggleAttribute("data-inside", inside);
    const names = people.map((person) => person.name || person.user);
    const empty = element("div", { class: "faces", "aria-hidden": "true" }, element("span", { class: "avatar" }, icon("lounge")));
    face.replaceChildren(count === 0 ? empty : faces(names));
    const who = count > names.length ? `${names.join(", ")} and others` : listed(names);
    said.textContent = count === 0 ? "Nobody is in it" : count === 1 ? `${who} is talking` : `${count} people are talking: ${who}`;
    button.textContent = inside ? "Leave" : "Join";
    button.setAttribute("aria-label", inside ? `Leave ${name}` : `Join ${name} with your voice`);
    button.classList.toggle("primary", !inside && count > 0);
    button.classList.toggle("quiet", inside || count === 0);
  }

  /** Goes in, with the microphone on. @param {string} name */
  enter(name) {
    const session = this.#session;
    if (!session || this.name === name) return;
    this.leave({ keepMedia: true });
    this.#entering();
    const room = session.join(roomOf(name));
    this.room = room;
    this.name = name;
    this.#devices.inCall = true;
    byId("play-blocked-dock").hidden = true;
    this.#off = [
      this.#media.attach(room),
      room.on("state", () => this.#dock()),
      room.on("participants", () => this.#dock()),
      room.on("speaking", () => this.#dock()),
      room.on("muted", () => this.#dock()),
      room.on("interrupted", ({ source, interrupted }) => source === "microphone" && interrupted && void notice(MICROPHONE_TAKEN)),
      room.on("blocked", () => (byId("play-blocked-dock").hidden = false)),
      room.on("closed", () => {
        notice(room.error ? `You could not join ${name}. ${errorText(room.error)}` : `${name} was closed.`);
        this.leave();
      }),
    ];
    if (this.#devices.speaker) room.setSpeaker(this.#devices.speaker);
    void this.#open();
    announce(`Joined ${name}`);
    this.#changed();
  }

  async #open() {
    const { room } = this;
    try {
      await this.#media.open("microphone");
    } catch (error) {
      if (this.room === room && /** @type {{code?: string}} */ (error).code !== "closed") notice(`${errorText(error)} Nobody hears you meanwhile.`, { stay: true });
    }
  }

  /** @param {{keepMedia?: boolean}} [options] `keepMedia`: something else needs the microphone at once */
  leave({ keepMedia = false } = {}) {
    const { room } = this;
    if (!room) return;
    for (const off of this.#off.splice(0)) off();
    this.room = null;
    this.name = "";
    room.leave();
    this.#devices.inCall = false;
    if (!keepMedia) this.#media.close("microphone");
    this.#changed();
  }

  #changed() {
    for (const chat of this.#chats.values()) this.#show(chat);
    this.#dock();
  }

  #dock() {
    const { room, name } = this;
    dock.hidden = room === null;
    document.body.toggleAttribute("data-dock", room !== null);
    if (!room) return;
    byId("dock-name").textContent = name;
    const people = [...room.participants.values()];
    const alone = people.length === 0 ? "Nobody else is in it yet" : `With ${listed(people.map((person) => person.name))}`;
    byId("dock-said").textContent = room.state === "connected" ? alone : room.state === "reconnecting" ? "Reconnecting…" : "Connecting…";
    const heard = !room.isMuted("microphone");
    mic.setAttribute("aria-pressed", String(heard));
    mic.setAttribute("aria-label", heard ? "Mute" : "Unmute");
    mic.title = `${heard ? "Mute" : "Unmute"} (M)`;
    setIcon(mic, heard ? "mic" : "mic-off");
    mic.toggleAttribute("data-speaking", room.me !== undefined && room.speaking.has(room.me));
    byId("dock-faces").replaceChildren(
      ...people.map((person) => {
        const face = avatar(person.name);
        face.title = person.name;
        face.toggleAttribute("data-speaking", person.speaking);
        face.toggleAttribute("data-muted", person.isMuted("microphone"));
        return face;
      }),
    );
  }

  toggleMicrophone() {
    const { room } = this;
    if (!room) return;
    if (!this.#media.tracks.microphone) {
      room.mute("microphone", false);
      void this.#open();
      return;
    }
    if (this.#media.tracks.microphone.muted) {
      room.mute("microphone", false);
      this.#media.reopen("microphone").catch((error) => notice(errorText(error), { stay: true }));
      return;
    }
    const muted = !room.isMuted("microphone");
    room.mute("microphone", muted);
    announce(muted ? "Muted" : "Unmuted");
  }

  async #copy() {
    const link = `${location.origin}${location.pathname}#chat/${encodeURIComponent(this.name)}`;
    try {
      await navigator.clipboard.writeText(link);
      notice(`The link to ${this.name} is copied.`);
    } catch {
      // Plain http has no clipboard: show it, to be copied by hand.
      notice(link, { stay: true });
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const typing = event.target instanceof HTMLElement && event.target.closest("input, textarea, select, [contenteditable]");
    if (!this.room || typing || document.querySelector("dialog[open]") || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "m" && !event.repeat) this.toggleMicrophone();
  }
}

/** @returns {string[]} */
function stored() {
  try {
    /** @type {unknown} */
    const names = JSON.parse(localStorage.getItem(STORED) ?? "[]");
    if (!Array.isArray(names)) return [];
    return [...new Set(names.filter((name) => typeof name === "string").map(tidy))].filter(Boolean).slice(0, LIMIT);
  } catch {
    return [];
  }
}
