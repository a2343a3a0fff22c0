/**
 * Whether somebody is at this page: it is visible, it has the focus, and it was used a short while ago. A page in the background, or one that was left open on
 * a desk, has nobody before it. Without a document nobody ever is.
 */

/** Whoever touches nothing for longer may have walked away; less would take somebody who reads for somebody who has. */
const IDLE_MS = 60_000;

const USES = ["pointerdown", "pointermove", "keydown", "wheel", "touchmove"];

export class Attention {
  /** Whether somebody is there now. */
  present = false;
  #usedAt = Date.now();
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #idle;
  #changed;
  #used = () => {
    this.#usedAt = Date.now();
    if (!this.present) this.#look();
  };
  #looked = () => this.#look();

  /** Begins with somebody who has just done something. @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    for (const use of USES) globalThis.addEventListener?.(use, this.#used, { capture: true, passive: true });
    for (const turn of ["focus", "blur"]) globalThis.addEventListener?.(turn, this.#looked);
    globalThis.document?.addEventListener("visibilitychange", this.#looked);
    this.#look();
  }

  #look() {
    const page = globalThis.document;
    const left = this.#usedAt + IDLE_MS - Date.now();
    const present = page !== undefined && !page.hidden && page.hasFocus() && left > 0;
    clearTimeout(this.#idle);
    if (present) this.#idle = setTimeout(() => this.#look(), left);
    if (present === this.present) return;
    this.present = present;
    this.#changed();
  }

  stop() {
    clearTimeout(this.#idle);
    for (const use of USES) globalThis.removeEventListener?.(use, this.#used, { capture: true });
    for (const turn of ["focus", "blur"]) globalThis.removeEventListener?.(turn, this.#looked);
    globalThis.document?.removeEventListener("visibilitychange", this.#looked);
  }
}
