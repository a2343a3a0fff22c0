/** What a call of several needs besides: who is being rung, ringing more people, the link that invites, and, for its host, letting in, muting, taking out and ending it for all. */
import { avatar, byId, element, notice } from "./dom.js";
import { errorText, listed } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {import("./ringback/ringback.js").Session} Session */

const dialog = /** @type {HTMLDialogElement} */ (byId("group"));
const button = byId("call-people");
const status = byId("call-group");

/** What is said of somebody who is asked and not there. @type {Record<string, string>} */
const WORDS = { declined: "declined", busy: "is busy", unreachable: "cannot be reached", timed_out: "did not answer" };

export class GroupView {
  /** @type {Call|null} */
  #call = null;
  /** @type {Session|null} */
  #session = null;
  /** @type {(() => void)[]} */
  #off = [];

  constructor() {
    button.addEventListener("click", () => this.#open());
    byId("group-link").addEventListener("click", () => this.#copy());
    byId("group-end").addEventListener("click", () => {
      dialog.close();
      this.#call?.endForAll().catch(failed);
    });
  }

  /** @param {Call} call @param {Session} session */
  show(call, session) {
    this.hide();
    this.#call = call;
    this.#session = session;
    this.#off = [
      call.on("state", () => this.#changed()),
      call.on("leg", () => this.#changed()),
      call.on("members", () => this.#changed()),
      call.on("knock", (who) => this.#knocked(call, who)),
      call.room.on("participants", () => this.#changed()),
      session.on("people", () => this.#changed()),
    ];
    this.#changed();
  }

  hide() {
    for (const off of this.#off.splice(0)) off();
    this.#call = null;
    button.hidden = true;
    status.textContent = "";
    if (dialog.open) dialog.close();
    for (const knock of document.querySelectorAll(".notice[data-knock]")) knock.remove();
  }

  #changed() {
    const call = this.#call;
    if (!call) return;
    button.hidden = call.state !== "active";
    status.textContent = call.group && call.state === "active" ? this.#absent(call) : "";
    if (call.isOver && dialog.open) dialog.close();
    else if (dialog.open) this.#list();
  }

  /** Who is asked and not there, in words. @param {Call} call */
  #absent(call) {
    const name = (/** @type {string} */ user) => call.to.find((one) => one.user === user)?.name || user;
    /** @type {Map<string, string>} */
    const said = new Map();
    for (const { user, state } of call.legs) {
      if (call.members.includes(user)) continue;
      if (state === "queued" || state === "ring_acked") said.set(user, "ringing");
      else if (WORDS[state] && said.get(user) !== "ringing") said.set(user, WORDS[state]);
    }
    const ringing = [...said].filter(([, what]) => what === "ringing").map(([user]) => name(user));
    const others = [...said].filter(([, what]) => what !== "ringing").map(([user, what]) => `${name(user)} ${what}`);
    return [ringing.length > 0 && `Ringing ${listed(ringing)}…`, ...others].filter(Boolean).join(" · ");
  }

  #open() {
    this.#list();
    dialog.showModal();
  }

  #list() {
    const [call, session] = [this.#call, this.#session];
    if (!call || !session) return;
    const host = call.host === session.user;
    const people = [...call.room.participants.values()];
    const here = people.map((person) =>
      row(person.name, person.user === call.host ? "Host" : "", [
        host && call.group && !person.isMuted("microphone") && act("Mute", `Mute ${person.name}`, () => call.mute(person.user)),
        host && call.group && act("Remove", `Take ${person.name} out of the call`, () => call.remove(person.user)),
      ]),
    );
    const free = session.people.filter(({ user }) => !call.members.includes(user));
    const more = free.map(({ user, name, state }) => {
      const rings = call.legs.some((leg) => leg.user === user && (leg.state === "queued" || leg.state === "ring_acked"));
      const said = rings ? "Ringing…" : state === "in_call" ? "On a call" : "";
      return row(name, said, [!rings && act("Ring", `Ring ${name}`, () => call.invite([user]))]);
    });
    byId("group-here").replaceChildren(...here);
    byId("group-more").replaceChildren(...more);
    byId("group-more-section").hidden = more.length === 0;
    byId("group-end").hidden = !(host && call.group);
  }

  async #copy() {
    const link = `${location.origin}${location.pathname}#call/${this.#call?.id ?? ""}`;
    const label = byId("group-link").querySelector("span");
    try {
      await navigator.clipboard.writeText(link);
      if (label) label.textContent = "Copied. Who opens it asks you to be let in.";
    } catch {
      // Plain http has no clipboard: show it, to be copied by hand.
      if (label) label.textContent = link;
    }
    setTimeout(() => {
      if (label) label.textContent = "Copy the link to this call";
    }, 5000);
  }

  /** @param {Call} call @param {{user: string, name: string}} who */
  #knocked(call, { user, name }) {
    const made = notice(`${name} asks to be let in.`, { stay: true });
    made.dataset.knock = user;
    /** @param {string} text @param {boolean} admitted */
    const answer = (text, admitted) =>
      element(
        "button",
        {
          type: "button",
          class: "text-button",
          onclick: () => {
            made.remove();
            call.admit(user, admitted).catch(failed);
          },
        },
        text,
      );
    made.lastElementChild?.replaceWith(answer("Not now", false), answer("Let in", true));
  }
}

/** @param {unknown} error */
function failed(error) {
  notice(errorText(error));
}

/** @param {string} text @param {string} label @param {() => Promise<void>} action */
function act(text, label, action) {
  const onclick = () => void action().catch(failed);
  return element("button", { type: "button", class: "text-button", "aria-label": label, onclick }, text);
}

/** @param {string} name @param {string} said @param {(HTMLElement|false)[]} actions */
function row(name, said, actions) {
  const text = element("div", { class: "row-text" }, element("strong", {}, name), said && element("span", {}, said));
  return element("li", { class: "row" }, avatar(name), text, element("div", { class: "row-actions" }, ...actions));
}
