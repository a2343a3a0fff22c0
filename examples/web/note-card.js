/** A note wherever it is shown: its player, what became of it, and what can be done with it. */
import { element, icon, notice } from "./dom.js";
import { dayAndTime, expiryText, heardText, kindName, noteErrorText, recipients } from "./note-words.js";
import { Player } from "./player.js";
import { ThreadReactions } from "./thread-reactions.js";

/** @typedef {import("./ringback/ringback.js").Note} Note */

/** How long a button that deletes asks whether it is meant. */
const SURE_MS = 4000;

export class NoteCard {
  root;
  /** @type {Player|undefined} */
  player;
  #note;
  #foot = element("div", { class: "card-foot" });
  #off;
  /** Which take the player has. */
  #shown = "";
  #extra;
  #reactions;

  /**
   * @param {Note} note
   * @param {{extra?: () => Node[]}} [options] `extra`: further buttons
   */
  constructor(note, { extra } = {}) {
    this.#note = note;
    this.#extra = extra;
    this.#reactions = new ThreadReactions(note, noteErrorText);
    this.root = element("div", { class: "note-card", "data-note": note.id });
    this.#off = note.on("change", () => this.#show());
    this.#show();
  }

  #show() {
    const note = this.#note;
    this.root.dataset.state = note.state;
    this.root.toggleAttribute("data-unheard", !note.isHeard);
    const shown = `${note.take} ${note.size}`;
    if (note.hasTake && this.#shown !== shown) {
      this.#shown = shown;
      this.player?.close();
      const label = note.isOwn ? `your ${kindName(note)}` : `${kindName(note)} from ${note.from.name || note.from.user}`;
      this.player = new Player(note, { label, onHeard: () => this.#heard() });
      this.root.replaceChildren(this.player.root, this.#reactions.root, this.#foot);
    }
    this.#reactions.show(note.state === "sent" && !note.deleted);
    if (!note.isHeard) this.player?.forgetHeard();
    const kept = document.activeElement instanceof HTMLElement && this.#foot.contains(document.activeElement);
    const focused = kept ? document.activeElement?.getAttribute("data-key") : null;
    this.#foot.replaceChildren(element("p", {}, ...this.#status()), ...this.#buttons());
    if (focused) /** @type {HTMLElement|null} */ (this.#foot.querySelector(`[data-key="${focused}"]`))?.focus();
  }

  #status() {
    const note = this.#note;
    if (note.state === "draft") return [element("strong", {}, "Not sent. "), expiryText(note)];
    if (note.state !== "sent") return [];
    if (note.isOwn) {
      const heard = note.to.some(({ heardAt }) => heardAt !== null);
      return [icon(heard ? "heard" : "check"), heardText(note)];
    }
    if (!note.isHeard) return [element("strong", { class: "new" }, note.kind === "video" ? "Not seen yet" : "Not heard yet")];
    return note.heardAt === null ? [] : [`${note.kind === "video" ? "Seen" : "Heard"} ${dayAndTime(note.heardAt)}`];
  }

  #buttons() {
    const note = this.#note;
    const buttons = this.#extra?.() ?? [];
    if (note.state === "draft") {
      buttons.push(
        sure("Discard", "Discard for good?", () => this.#do(() => note.discard())),
        element("button", { class: "button primary small", type: "button", "data-key": "send", onclick: () => this.#do(() => note.send(), `Sent to ${recipients(note)}.`) }, icon("send"), "Send"),
      );
      return buttons;
    }
    if (note.state !== "sent") return buttons;
    if (!note.isOwn && note.isHeard) {
      const label = note.kind === "video" ? "Mark as unseen" : "Mark as unheard";
      buttons.push(tool("unheard", "unheard", label, () => this.#do(() => note.markUnheard())));
    }
    buttons.push(tool("delete", "trash", `Delete this ${kindName(note)}`, () => this.#do(() => note.delete()), "Tap again to delete"));
    return buttons;
  }

  #heard() {
    const note = this.#note;
    if (note.state === "sent" && !note.isHeard) note.markHeard().catch(() => this.player?.forgetHeard());
  }

  /** @param {() => Promise<void>} act @param {string} [done] said when it is done */
  async #do(act, done) {
    try {
      this.root.toggleAttribute("inert", true);
      await act();
      if (done) notice(done);
    } catch (error) {
      notice(noteErrorText(error));
    } finally {
      this.root.toggleAttribute("inert", false);
    }
  }

  close() {
    this.#off();
    this.player?.close();
  }
}

/**
 * @param {string} key
 * @param {string} symbol
 * @param {string} label
 * @param {() => void} act
 * @param {string} [question] asked before it is done
 */
export function tool(key, symbol, label, act, question) {
  const button = element("button", { class: "icon-button", type: "button", "data-key": key, "aria-label": label, title: label }, icon(symbol));
  if (question) ask(button, question, act, (asked) => {
    button.setAttribute("aria-label", asked ? question : label);
    button.title = asked ? question : label;
  });
  else button.addEventListener("click", act);
  return button;
}

/**
 * A button that wants a second press.
 * @param {string} label
 * @param {string} question
 * @param {() => void} act
 */
export function sure(label, question, act) {
  const button = element("button", { class: "text-button", type: "button", "data-key": label }, label);
  ask(button, question, act, (asked) => {
    button.textContent = asked ? question : label;
  });
  return button;
}

/**
 * @param {HTMLElement} button
 * @param {string} question
 * @param {() => void} act
 * @param {(asked: boolean) => void} show
 */
export function ask(button, question, act, show) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  const reset = () => {
    clearTimeout(timer);
    timer = undefined;
    button.removeAttribute("data-sure");
    show(false);
  };
  button.addEventListener("click", () => {
    if (timer !== undefined) {
      reset();
      return act();
    }
    timer = setTimeout(reset, SURE_MS);
    button.setAttribute("data-sure", question);
    show(true);
  });
  button.addEventListener("blur", () => timer !== undefined && reset());
}
