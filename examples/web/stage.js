/** The stage: a tile for everyone in the room, in a place that stays theirs, with whoever speaks highlighted. */
import { corner, focused, grid } from "./layout.js";
import { detailOf } from "./quality.js";
import { Tile, showLocal } from "./tile.js";

/** @typedef {import("./layout.js").Box} Box */
/** @typedef {import("./ringback/ringback.js").LocalMedia} LocalMedia */
/** @typedef {import("./ringback/ringback.js").Participant} Participant */
/** @typedef {import("./ringback/ringback.js").Room} Room */

/** From so many others on whoever is talking is shown large; below that everybody is, and a light is enough. */
const CROWD = 5;

export class Stage {
  /** Tiles of others: participant id, or id + `/screen`. @type {Map<string, {tile: Tile, off: () => void}>} */
  #others = new Map();
  #self;
  #room;
  #media;
  #root;
  /** Which tile is large. @type {string|null} */
  #pinned = null;
  #resizes = new ResizeObserver(() => this.layout());
  /** @type {(() => void)[]} */
  #off;

  /**
   * @param {HTMLElement} root
   * @param {Room} room
   * @param {LocalMedia} media
   * @param {string} name our own
   */
  constructor(root, room, media, name) {
    this.#root = root;
    this.#room = room;
    this.#media = media;
    this.#self = new Tile({ name, kind: "self" });
    root.replaceChildren(this.#self.root);
    this.#resizes.observe(root);
    this.#off = [
      room.on("participants", () => this.#people()),
      room.on("speaking", () => this.#lights()),
      room.on("stage", () => this.#lights()),
      room.on("focus", () => this.layout()),
      room.on("muted", () => this.#own()),
      room.on("quality", () => this.#qualities()),
      room.on("label", () => this.layout()),
      room.reactions.on("statuses", () => this.#statuses()),
      media.on("track", () => this.#own()),
    ];
    this.#own();
    this.#people();
  }

  #people() {
    /** @type {Set<string>} */
    const wanted = new Set();
    for (const participant of this.#room.participants.values()) {
      wanted.add(participant.id);
      this.#ensure(participant.id, participant, "person");
      if (!participant.isMuted("screen")) {
        wanted.add(`${participant.id}/screen`);
        this.#ensure(`${participant.id}/screen`, participant, "screen");
      }
      const tile = this.#others.get(participant.id)?.tile;
      if (!tile) continue;
      tile.muted = participant.isMuted("microphone");
      tile.camera = !participant.isMuted("camera");
      tile.connecting = !participant.connected;
    }
    for (const [key, { tile, off }] of this.#others) {
      if (wanted.has(key)) continue;
      off();
      tile.remove();
      this.#others.delete(key);
      if (this.#pinned === key) this.pin(null);
    }
    this.#lights();
    this.#qualities();
    this.#statuses();
    this.layout();
  }

  #qualities() {
    for (const { id, quality } of this.#room.participants.values()) this.#others.get(id)?.tile.quality.show(quality);
    this.#self.quality.show(this.#room.quality?.level, detailOf(this.#room));
  }

  /**
   * @param {string} key
   * @param {Participant} participant
   * @param {"person"|"screen"} kind
   */
  #ensure(key, participant, kind) {
    if (this.#others.has(key)) return;
    const onpin = () => this.pin(this.#pinned === key ? null : key);
    const tile = new Tile({ name: participant.name, kind, onpin });
    tile.camera = kind === "screen";
    tile.root.dataset.participant = participant.id;
    this.#root.append(tile.root);
    const off = this.#room.tile(participant.id, tile.picture, kind === "screen" ? "screen" : "camera");
    this.#others.set(key, { tile, off });
  }

  #lights() {
    for (const [key, { tile }] of this.#others) {
      tile.speaking = this.#room.speaking.has(key);
      tile.root.toggleAttribute("data-stage", this.#room.stage === key);
    }
    const { me, speaking, stage } = this.#room;
    this.#self.speaking = me !== undefined && speaking.has(me);
    this.#self.root.toggleAttribute("data-stage", me !== undefined && stage === me);
  }

  #statuses() {
    const { me, reactions } = this.#room;
    for (const [key, { tile }] of this.#others) tile.status = reactions.statuses.get(key)?.status;
    this.#self.status = me === undefined ? undefined : reactions.statuses.get(me)?.status;
  }

  #own() {
    const { camera } = this.#media.tracks;
    const shown = camera !== null && !this.#room.isMuted("camera");
    showLocal(this.#self.picture, shown ? camera : null);
    this.#self.camera = shown;
    this.#self.muted = this.#room.isMuted("microphone");
  }

  /**
   * Keeps a tile large.
   * @param {string|null} key
   */
  pin(key) {
    this.#pinned = key;
    for (const [other, { tile }] of this.#others) tile.pinned = other === key;
    this.#room.pin(key?.split("/")[0] ?? null).catch(() => {});
    this.layout();
  }

  /** The tile that the server's word says to look at, if it is there. */
  #looksAt() {
    const { focus } = this.#room;
    if (!focus) return null;
    const key = focus.source === "screen" ? `${focus.participant}/screen` : focus.participant;
    return this.#others.has(key) ? key : null;
  }

  get pinned() {
    return this.#pinned;
  }

  layout() {
    const { clientWidth: width, clientHeight: height } = this.#root;
    if (width === 0 || height === 0) return;
    const style = getComputedStyle(this.#root);
    const inset = (/** @type {string} */ side) => parseFloat(style.getPropertyValue(`--inset-${side}`)) || 0;
    const keys = [...this.#others.keys()];
    const screen = keys.find((key) => key.endsWith("/screen"));
    const focus = this.#pinned ?? screen ?? (keys.length >= CROWD ? this.#looksAt() : null);
    // Between two, the other fills the stage to its edges and only the own corner keeps clear of the controls.
    const duo = keys.length <= 1 && focus === null;
    const whole = { x: 0, y: 0, width, height };
    const clear = {
      x: inset("side"),
      y: inset("top"),
      width: width - 2 * inset("side"),
      height: height - inset("top") - inset("bottom"),
    };
    this.#root.dataset.layout = duo ? "duo" : "many";
    const all = [...keys.map((key) => ({ key, tile: this.#others.get(key)?.tile })), { key: "", tile: this.#self }];
    if (duo) {
      const remote = all.length > 1 ? all[0]?.tile : undefined;
      remote?.place(whole);
      this.#self.place(remote ? corner(clear) : whole, remote ? "corner" : "plain");
    } else if (focus !== null) {
      const boxes = focused(all.length - 1, clear);
      let at = 0;
      for (const { key, tile } of all) {
        if (key === focus) tile?.place(boxes.focus);
        else tile?.place(/** @type {Box} */ (boxes.strip[at++]), "strip");
      }
    } else {
      const boxes = grid(all.length, clear);
      all.forEach(({ tile }, at) => tile?.place(/** @type {Box} */ (boxes[at])));
    }
  }

  close() {
    for (const off of this.#off) off();
    this.#resizes.disconnect();
    for (const { off } of this.#others.values()) off();
    this.#others.clear();
    this.#root.replaceChildren();
  }
}
