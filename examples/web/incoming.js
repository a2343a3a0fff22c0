/** The ring: a sheet on phones, a card on desktops, until it is accepted, declined, silenced or over. */
import { announce, avatar, byId, setIcon } from "./dom.js";
import { showCalling } from "./title.js";
import * as tones from "./tones.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {{accept: (call: Call, options: {camera: boolean}) => void}} Answers */

const dialog = /** @type {HTMLDialogElement} */ (byId("incoming"));
/** How long a phone shakes, pauses, shakes … in ms. */
const SHAKE = [300, 200, 300];

/** @type {Call|null} */
let ringing = null;
/** @type {Answers|undefined} */
let answers;
/** @type {ReturnType<typeof setInterval>|undefined} */
let shaking;

/** @param {Answers} given */
export function setUpIncoming(given) {
  answers = given;
  byId("incoming-accept").addEventListener("click", () => accept(ringing?.kind === "video"));
  byId("incoming-voice").addEventListener("click", () => accept(false));
  byId("incoming-decline").addEventListener("click", () => ringing?.decline().catch(() => {}));
  byId("incoming-ignore").addEventListener("click", () => ringing?.ignore().catch(() => {}));
  // Escape must not throw a call away by accident: it silences this device only.
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    ringing?.ignore().catch(() => {});
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key.toLowerCase() === "a") accept(ringing?.kind === "video");
    else if (event.key.toLowerCase() === "d") ringing?.decline().catch(() => {});
  });
}

/** @param {boolean} camera */
function accept(camera) {
  if (!ringing) return;
  const call = ringing;
  hide();
  answers?.accept(call, { camera });
}

/** Whether something rings. */
export const isRinging = () => ringing !== null;

/**
 * @param {Call} call
 * @param {string} [hint] what accepting it would mean besides
 */
export function showIncoming(call, hint = "") {
  ringing = call;
  const name = call.from.name || call.from.user;
  const others = call.to.length - 1;
  const kind = `${call.kind === "video" ? "Video call" : "Voice call"}${others > 0 ? ` with you and ${others} more` : ""}`;
  byId("incoming-face").replaceChildren(avatar(name));
  byId("incoming-name").textContent = name;
  byId("incoming-kind").textContent = hint ? `${kind} · ${hint}` : kind;
  byId("incoming-voice").hidden = call.kind !== "video";
  setIcon(byId("incoming-accept"), call.kind === "video" ? "camera" : "call");
  showCalling(name);
  announce(`${name} is calling. ${kind}. Press A to accept, D to decline.`);
  if (!dialog.open) dialog.showModal();
  byId("incoming-name").focus();
  tones.startRing();
  shaking = setInterval(() => navigator.vibrate?.(SHAKE), 3000);
  const off = call.on("state", (state) => {
    if (state === "ringing") return;
    off();
    if (ringing === call) hide();
  });
}

function hide() {
  ringing = null;
  clearInterval(shaking);
  tones.stop();
  announce("");
  showCalling("");
  if (dialog.open) dialog.close();
}
