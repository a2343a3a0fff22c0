/** Keeps the screen on while somebody is looked at. The browser lets go of it whenever the page is not seen, so it is asked for anew then. */

export class WakeLock {
  #wanted = false;
  /** @type {WakeLockSentinel|null} */
  #lock = null;

  constructor() {
    document.addEventListener("visibilitychange", () => void this.#take());
  }

  /** @param {boolean} on */
  keep(on) {
    this.#wanted = on;
    if (on) void this.#take();
    else {
      void this.#lock?.release();
      this.#lock = null;
    }
  }

  async #take() {
    if (!this.#wanted || document.hidden || (this.#lock && !this.#lock.released)) return;
    try {
      const lock = await navigator.wakeLock?.request("screen");
      if (!lock) return;
      if (this.#wanted) this.#lock = lock;
      else void lock.release();
    } catch {
      // A low battery, or a browser that does not do it: the screen sleeps as it always does.
    }
  }
}
