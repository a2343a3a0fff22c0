/**
 * What a page does about packets that are lost, from what the server measures on everybody's connection: pictures of whoever loses much wait for
 * their repair (patience.js), and our voice goes out twice while somebody loses of it (redundancy.js). What is sent again is the browser's and the
 * server's business.
 */
import { patience } from "./patience.js";
import { Redundancy } from "./redundancy.js";

/** @typedef {Pick<import("./protocol.js").Quality, "round_trip_ms"|"loss_up"|"loss_down">} Losses */

/** Ourselves, among those who may lose of our voice: on its way to the server. */
const OURS = "";

export class LossRepair {
  #redundancy = new Redundancy();
  #slots;
  #repeatVoice;

  /**
   * @param {Pick<import("./slots.js").SlotBoard, "hold"|"forget"|"holdAll">} slots
   * @param {(repeats: boolean) => void} repeatVoice told each time, news or not
   */
  constructor(slots, repeatVoice) {
    this.#slots = slots;
    this.#repeatVoice = repeatVoice;
  }

  /** Our own connection was measured. @param {Losses} losses */
  ours({ round_trip_ms, loss_up, loss_down }) {
    this.#slots.holdAll(patience(round_trip_ms, loss_down));
    this.#repeatVoice(this.#redundancy.told(OURS, loss_up));
  }

  /** Somebody else's was. @param {string} participant @param {Losses} losses */
  theirs(participant, { round_trip_ms, loss_up, loss_down }) {
    this.#slots.hold(participant, patience(round_trip_ms, loss_up));
    this.#repeatVoice(this.#redundancy.told(participant, loss_down));
  }

  /** Whether anybody in a room too large to be told of each loses much. @param {boolean} lossy */
  everybodys(lossy) {
    this.#repeatVoice(this.#redundancy.toldOfAll(lossy, OURS));
  }

  /** @param {string} participant */
  left(participant) {
    this.#slots.forget(participant);
    this.#repeatVoice(this.#redundancy.left(participant));
  }
}
