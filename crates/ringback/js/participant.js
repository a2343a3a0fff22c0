/** Somebody else in the room: who they are, what they publish, and what of it arrives here. */

/** @typedef {import("./protocol.js").ParticipantRecord} ParticipantRecord */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./room.js").Room} Room */

export class Participant {
  #room;
  /** @type {Map<MediaStreamTrack, MediaStream>} */
  #streams = new Map();

  /**
   * @param {ParticipantRecord} record
   * @param {Room} room
   */
  constructor(record, room) {
    this.id = record.participant;
    this.user = record.user;
    this.name = record.name;
    this.tracks = record.tracks;
    /** Whether their media transport is up. */
    this.connected = record.connected;
    /** How good their connection is, as the server measures it; undefined until then. */
    this.quality = record.quality;
    this.#room = room;
  }

  /** @param {ParticipantRecord} record */
  update(record) {
    this.name = record.name;
    this.tracks = record.tracks;
    this.connected = record.connected;
    this.quality = record.quality ?? this.quality;
  }

  /** Whether they publish nothing of `source`, or muted it. @param {Source} source */
  isMuted(source) {
    return this.tracks.find((track) => track.source === source)?.muted ?? true;
  }

  get speaking() {
    return this.#room.speaking.has(this.id);
  }

  /** Their voice as it arrives; null while no slot carries it. */
  get audio() {
    return this.#stream("microphone");
  }

  /** Their picture, once it is certain to be theirs; null while there is none. */
  get video() {
    return this.#stream("camera");
  }

  /** Their screen, likewise. */
  get screen() {
    return this.#stream("screen");
  }

  /** @param {Source} source */
  #stream(source) {
    const slot = this.#room.slots.find(this.id, source);
    if (!slot?.shown || !slot.track) return null;
    let stream = this.#streams.get(slot.track);
    if (!stream) {
      stream = new MediaStream([slot.track]);
      this.#streams.set(slot.track, stream);
    }
    return stream;
  }
}
