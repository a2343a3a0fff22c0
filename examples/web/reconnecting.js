/**
 * What a call says while it has lost its connection, calmly: nothing at once, since most losses mend themselves; then what is lost
 * and what goes on; at last that it is back. It decides words and when they come; it repairs nothing.
 */
import { byId } from "./dom.js";

/** @typedef {import("./ringback/ringback.js").Room} Room */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {"media"|"server"|""} Lost */

/** Sound and pictures have stopped: people notice at once, so they are told soon. */
const MEDIA_AFTER_MS = 700;
/** Of the server alone nobody notices anything in a call, unless somebody comes or goes. */
const SERVER_AFTER_MS = 4_000;
/** From here on it is no blip, and something can be done about it. */
const LONG_MS = 9_000;
/** How long it says that all is well again. */
const BACK_MS = 2_000;

const root = byId("call");
const pill = byId("call-link");

export class Reconnecting {
  /** @type {(() => void)[]} */
  #off = [];
  /** What is lost. @type {Lost} */
  #lost = "";
  #since = 0;
  /** Whether something was said of it. */
  #said = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;

  /** @param {Room} room @param {Session} session */
  show(room, session) {
    this.hide();
    const look = () => this.#look(room, session);
    this.#off = [room.on("state", look), session.on("state", look)];
    for (const what of ["online", "offline"]) {
      addEventListener(what, look);
      this.#off.push(() => removeEventListener(what, look));
    }
    look();
  }

  hide() {
    for (const off of this.#off.splice(0)) off();
    clearTimeout(this.#timer);
    this.#lost = "";
    this.#said = false;
    this.#say("", "");
  }

  /** @param {Room} room @param {Session} session */
  #look(room, session) {
    clearTimeout(this.#timer);
    /** @type {Lost} */
    const lost = room.state === "reconnecting" ? "media" : room.state === "connected" && session.state === "reconnecting" ? "server" : "";
    if (lost !== this.#lost) this.#since = performance.now();
    this.#lost = lost;
    if (!lost) return this.#back();
    const passed = performance.now() - this.#since;
    const after = lost === "media" ? MEDIA_AFTER_MS : SERVER_AFTER_MS;
    if (passed >= after) this.#say(lost, textOf(lost, passed >= LONG_MS));
    const next = [after, LONG_MS].find((at) => at > passed);
    if (next !== undefined) this.#timer = setTimeout(() => this.#look(room, session), next - passed + 1);
  }

  #back() {
    if (!this.#said) return this.#say("", "");
    this.#said = false;
    this.#say("back", "Connected again");
    this.#timer = setTimeout(() => this.#say("", ""), BACK_MS);
  }

  /** @param {Lost|"back"} what @param {string} text */
  #say(what, text) {
    root.toggleAttribute("data-lost-media", what === "media");
    pill.toggleAttribute("data-back", what === "back");
    pill.hidden = text === "";
    if (what === "media" || what === "server") this.#said = true;
    if (pill.textContent !== text) pill.textContent = text;
  }
}

/** @param {Lost} lost @param {boolean} long */
function textOf(lost, long) {
  if (!navigator.onLine) return "You are offline";
  if (lost === "server") return long ? "Still reaching the server. You hear each other." : "Reaching the server again…";
  return long ? "Still reconnecting. Is your network up?" : "Reconnecting…";
}
