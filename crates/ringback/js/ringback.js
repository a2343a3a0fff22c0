/**
 * Ringback's client library: ring people, answer, see and hear them, and leave a note where nobody picks up. An ES module
 * without a build step.
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
 *
 * call.on("note", async (note) => {
 *   await note.record();                       // counts down, then records what `media` sends already
 *   note.on("change", () => {
 *     if (note.state === "draft") player.src = note.url;   // listen; then note.send(), or note.record() again
 *   });
 *   setTimeout(() => note.stop(), 10_000);
 * });
 * const { notes } = await session.notes.inbox();
 * ```
 *
 * Media is encrypted between each browser and the server, which forwards it; it is not end-to-end encrypted.
 */
import { Session } from "./session.js";

export { Call } from "./call.js";
export { DEFAULT_SLOTS, MediaConnection } from "./connection.js";
export { RingbackError } from "./errors.js";
export { Image } from "./image.js";
export { Images } from "./images.js";
export { LocalMedia } from "./media.js";
export { Note } from "./note.js";
export { Notes } from "./notes.js";
export { Notifications } from "./notifications.js";
export { Participant } from "./participant.js";
export { Reactions } from "./reactions.js";
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
