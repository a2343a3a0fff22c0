/** What a screen reader is told of reactions and hands: a sentence every few seconds at most, however many there were. */
import { listed } from "./words.js";

/** @typedef {import("./ringback/reactions.js").Burst} Burst */

/** Long enough to be read out before the next; the first of a burst is told after a breath. */
const PAUSE_MS = 4_000;
const BREATH_MS = 600;
/** Kinds of reaction and names in a sentence. */
const TOLD = 3;

export class BurstSummary {
  /** @type {Map<string, {count: number, names: Set<string>}>} */
  #counted = new Map();
  /** @type {string[]} */
  #raised = [];
  /** Who raised a hand since the last sentence. @type {string[]} */
  #fresh = [];
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  #last = 0;
  #tell;

  /** @param {(text: string) => void} tell */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {Burst} burst */
  add({ counts, by }) {
    for (const { reaction, count } of counts) {
      const counted = this.#counted.get(reaction) ?? { count: 0, names: new Set() };
      counted.count += count;
      for (const named of by) if (named.reaction === reaction) counted.names.add(named.name);
      this.#counted.set(reaction, counted);
    }
    this.#schedule();
  }

  /** @param {string[]} names all raised hands, in order */
  hands(names) {
    const fresh = names.filter((name) => !this.#raised.includes(name));
    this.#raised = names;
    if (fresh.length === 0) return;
    this.#fresh.push(...fresh);
    this.#schedule();
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#counted.clear();
    this.#raised = [];
    this.#fresh = [];
  }

  #schedule() {
    const wait = Math.max(BREATH_MS, this.#last + PAUSE_MS - performance.now());
    this.#timer ??= setTimeout(() => this.#say(), wait);
  }

  #say() {
    this.#timer = undefined;
    this.#last = performance.now();
    const sentences = [];
    const counted = [...this.#counted].sort(([, a], [, b]) => b.count - a.count);
    const told = counted.slice(0, TOLD).map(([reaction, { count, names }]) => {
      const times = count === 1 ? "" : ` ${count} times`;
      const by = names.size === 0 || names.size > TOLD ? "" : ` by ${listed([...names])}`;
      return `${reaction}${times}${by}`;
    });
    if (told.length > 0) sentences.push(`Reactions: ${told.join(", ")}${counted.length > TOLD ? " and others" : ""}.`);
    const others = this.#fresh.filter((name) => name !== "You" && this.#raised.includes(name));
    if (others.length > 0) {
      const who = others.length > TOLD ? `${others.length} people` : listed(others);
      sentences.push(`${who} raised a hand; ${this.#raised.length} in the queue.`);
    }
    this.#counted.clear();
    this.#fresh = [];
    if (sentences.length > 0) this.#tell(sentences.join(" "));
  }
}
