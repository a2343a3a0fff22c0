/**
 * Where the pictures stand on the page. The page gives every person a tile of its own and keeps it in place; the players
 * move between tiles as slots are mapped. The tiles' sizes are what the server chooses layers by (`room.view`).
 */

/** @typedef {import("./protocol.js").SlotView} SlotView */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./slots.js").SlotBoard} SlotBoard */

/** Long enough to swallow an animated layout, short enough that a picture sharpens at once when it grows. */
const VIEW_DEBOUNCE_MS = 120;

export class TileBoard {
  /** `participant/source` → tile; null where there was one, so that it is reported as hidden. @type {Map<string, HTMLElement|null>} */
  #tiles = new Map();
  /** Where players without a tile go on playing their sound. @type {HTMLElement|null} */
  #parking = null;
  #board;
  #report;
  #reported = "";
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #timer;
  #resizes = new ResizeObserver(() => this.#schedule());

  /**
   * @param {SlotBoard} board
   * @param {(view: SlotView[]) => void} report
   */
  constructor(board, report) {
    this.#board = board;
    this.#report = report;
    board.on("label", () => this.place());
  }

  /**
   * Shows a track of a participant in `element` whenever there is one to show. While it does, the element carries
   * `data-video="live"`.
   * @param {string} participant
   * @param {Source} source
   * @param {HTMLElement} element
   * @returns {() => void} takes the tile away
   */
  add(participant, source, element) {
    const key = `${participant}/${source}`;
    this.#tiles.set(key, element);
    this.#resizes.observe(element);
    this.place();
    return () => {
      if (this.#tiles.get(key) === element) this.#tiles.set(key, null);
      this.#resizes.unobserve(element);
      this.place();
    };
  }

  /** Puts every player where its picture belongs. */
  place() {
    /** @type {Set<HTMLElement>} */
    const live = new Set();
    for (const { element, video } of this.#board.players()) {
      const owner = video?.owner;
      const tile = owner && this.#tiles.get(`${owner.participant}/${owner.source}`);
      const home = tile ?? this.#park();
      // Moved within one task, a media element goes on playing.
      if (element.parentElement !== home) home.append(element);
      if (tile && video?.shown) live.add(tile);
    }
    for (const tile of this.#tiles.values()) {
      if (!tile) continue;
      if (live.has(tile)) tile.dataset.video = "live";
      else delete tile.dataset.video;
    }
    this.#schedule();
  }

  #park() {
    if (!this.#parking) {
      this.#parking = document.createElement("div");
      // Not `display: none`: frames are reported only for what is laid out.
      this.#parking.style.cssText =
        "position:fixed;inset:0 auto auto 0;width:2px;height:2px;overflow:hidden;opacity:0;pointer-events:none";
      this.#parking.setAttribute("aria-hidden", "true");
      document.body.append(this.#parking);
    }
    return this.#parking;
  }

  #schedule() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.report(), VIEW_DEBOUNCE_MS);
  }

  /** Reports the sizes now; unchanged ones are not sent again unless `again`. */
  report({ again = false } = {}) {
    const scale = globalThis.devicePixelRatio || 1;
    /** @type {SlotView[]} */
    const view = [];
    for (const slot of this.#board.slots.values()) {
      if (slot.kind !== "video" || !slot.owner) continue;
      const tile = this.#tiles.get(`${slot.owner.participant}/${slot.owner.source}`);
      // Never in a tile: the app shows `participant.video` in a way of its own.
      if (tile === undefined) continue;
      const box = tile?.getBoundingClientRect();
      view.push({
        mid: slot.mid,
        width: Math.round((box?.width ?? 0) * scale),
        height: Math.round((box?.height ?? 0) * scale),
      });
    }
    const text = JSON.stringify(view);
    if (text === this.#reported && !again) return;
    this.#reported = text;
    if (view.length > 0) this.#report(view);
  }

  close() {
    clearTimeout(this.#timer);
    this.#resizes.disconnect();
    this.#tiles.clear();
    this.#parking?.remove();
    this.#parking = null;
  }
}
