/** The line below a thread in which `/imagine …` asks for an image. */
import { byId } from "./dom.js";
import { COMMAND, imageErrorText, promptOf } from "./image-words.js";

/** @typedef {import("./ringback/ringback.js").Image} Image */

export class ImagineLine {
  #form = /** @type {HTMLFormElement} */ (byId("imagine"));
  #input = /** @type {HTMLInputElement} */ (byId("imagine-line"));
  #error = byId("imagine-error");
  #ask;

  /** @param {(prompt: string) => Promise<Image>} ask */
  constructor(ask) {
    this.#ask = ask;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#input.addEventListener("input", () => this.#say(""));
  }

  /** Puts a prompt into the line, to be changed. @param {string} prompt */
  change(prompt) {
    this.#input.value = `${COMMAND} ${prompt}`;
    this.#input.focus();
    this.#input.setSelectionRange(this.#input.value.length, this.#input.value.length);
  }

  clear() {
    this.#input.value = "";
    this.#say("");
  }

  /** @param {string} text */
  #say(text) {
    this.#error.textContent = text;
  }

  async #send() {
    const line = this.#input.value;
    const prompt = promptOf(line);
    if (!prompt) {
      if (prompt !== null) this.#say(`Say what you want to see after ${COMMAND}.`);
      else if (line.trim()) this.#say(`Here you can ask for pictures only: type ${COMMAND} and what you want to see.`);
      return;
    }
    try {
      this.#form.toggleAttribute("inert", true);
      await this.#ask(prompt);
      this.clear();
    } catch (error) {
      this.#say(imageErrorText(error));
    } finally {
      this.#form.toggleAttribute("inert", false);
      this.#input.focus();
    }
  }
}
