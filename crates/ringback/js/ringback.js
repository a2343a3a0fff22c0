/**
 * Ringback's client library: ring people, answer, see and hear them. An ES module without a build step.
 *
 * ```js
 * import { Ringback, LocalMedia } from "/ringback/ringback.js";
 *
 * const session = await Ringback.connect({ url: "/v1/ws", token });
 * const media = new LocalMedia();
 * await media.open("microphone");
 *
 * const call = session.call("bob", { kind: "voice" });
 * media.attach(call.room);
 * call.on("state", () => console.log(call.state, call.outcome));
 *
 * session.on("incoming", async (call) => {
 *   media.attach(call.room);
 *   call.room.on("participants", () => {
 *     for (const { id } of call.room.participants.values()) call.room.tile(id, document.querySelector("#tile"));
 *   });
 *   await call.accept();
 * });
 * ```
 *
 * Media is encrypted between each browser and the server, which forwards it; it is not end-to-end encrypted.
 */
import { Session } from "./session.js";

export { Call } from "./call.js";
export { DEFAULT_SLOTS, MediaConnection } from "./connection.js";
export { RingbackError } from "./errors.js";
export { LocalMedia } from "./media.js";
export { Participant } from "./participant.js";
export { Room } from "./room.js";
export { Session } from "./session.js";
export { Slot, SlotBoard, rtpReached } from "./slots.js";

export const Ringback = {
  /**
   * Connects this device. Losses after that are repaired by themselves (`session.state`).
   * @param {import("./session.js").SessionOptions} options
   * @returns {Promise<Session>}
   * @throws {import("./errors.js").RingbackError} `unauthorized`, `token_expired`, `unsupported_version`, `disconnected`, …
   */
  async connect(options) {
    const session = new Session(options);
    await session.open();
    return session;
  },
};
