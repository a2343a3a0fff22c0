/**
 * An EventTarget whose events are typed: `on(name, listener)` hands the detail over and returns its own undo;
 * `addEventListener` works as everywhere, with a `CustomEvent`.
 *
 * @template {Record<string, any>} Events event name → detail
 */
export class Emitter extends EventTarget {
  /**
   * @template {keyof Events & string} K
   * @param {K} name
   * @param {(detail: Events[K]) => void} listener
   * @returns {() => void} stops listening
   */
  on(name, listener) {
    /** @param {Event} event */
    const relay = (event) => listener(/** @type {CustomEvent<Events[K]>} */ (event).detail);
    this.addEventListener(name, relay);
    return () => this.removeEventListener(name, relay);
  }

  /**
   * @protected
   * @template {keyof Events & string} K
   * @param {K} name
   * @param {Events[K]} detail
   */
  emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
