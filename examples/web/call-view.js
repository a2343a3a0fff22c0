/** The screen of a call from the first ring to how it ended: the stage, the controls, the timer. */
import { announce, avatar, byId, element, icon, notice, setIcon } from "./dom.js";
import { GroupView } from "./group.js";
import { PictureInPicture } from "./pip.js";
import { troubleOf } from "./quality.js";
import { ReactionsView } from "./reactions.js";
import { Reconnecting } from "./reconnecting.js";
import { toggleSpeakerOverlay } from "./speaker-overlay.js";
import { Stage } from "./stage.js";
import { StatusView } from "./status.js";
import * as tones from "./tones.js";
import { WakeLock } from "./wake-lock.js";
import { MICROPHONE_TAKEN, clock, endText, errorText, listed, nameOf, ringingText } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {import("./ringback/ringback.js").LocalMedia} LocalMedia */
/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {{done: () => void, again: (call: Call) => void, back: (call: Call) => void}} CallActions */

/** A call that was talked in needs no farewell; others leave their outcome on the screen. */
const FAREWELL_MS = 2500;

const root = byId("call");
const mic = byId("control-mic");
const camera = byId("control-camera");
const screen = byId("control-screen");

export class CallView {
  /** @type {Call|null} */
  call = null;
  #media;
  #devices;
  #actions;
  #reactions = new ReactionsView();
  #status = new StatusView();
  #group = new GroupView();
  #pip = new PictureInPicture({ toggleMicrophone: () => this.toggleMicrophone(), end: () => this.end() });
  #reconnecting = new Reconnecting();
  #wakeLock = new WakeLock();
  /** @type {Stage|undefined} */
  #stage;
  /** @type {(() => void)[]} */
  #off = [];
  /** @type {ReturnType<typeof setInterval>|undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  #farewell;

  /**
   * @param {LocalMedia} media
   * @param {Devices} devices
   * @param {CallActions} actions
   */
  constructor(media, devices, actions) {
    this.#media = media;
    this.#devices = devices;
    this.#actions = actions;
    mic.addEventListener("click", () => this.toggleMicrophone());
    camera.addEventListener("click", () => this.toggleCamera());
    screen.addEventListener("click", () => this.toggleScreen());
    byId("control-devices").addEventListener("click", () => devices.open());
    byId("control-end").addEventListener("click", () => this.end());
    byId("play-blocked").addEventListener("click", () => {
      tones.enable();
      this.call?.room.play();
      byId("play-blocked").hidden = true;
    });
    screen.hidden = !navigator.mediaDevices || !("getDisplayMedia" in navigator.mediaDevices);
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {Call} call placed, or about to be accepted
   * @param {Session} session
   * @param {{camera: boolean}} options
   */
  show(call, session, options) {
    this.leave();
    this.call = call;
    const name = nameOf(call);
    document.body.dataset.view = "call";
    root.dataset.kind = call.kind;
    byId("call-name").textContent = name;
    byId("ringing-name").textContent = name;
    byId("ringing-face").replaceChildren(avatar(name));
    byId("ringing-actions").replaceChildren();
    byId("play-blocked").hidden = true;
    byId("call-trouble").textContent = "";
    this.#devices.inCall = true;
    const { room } = call;
    this.#stage = new Stage(byId("stage"), room, this.#media, session.name);
    this.#reactions.show(room);
    this.#status.show(room);
    this.#group.show(call, session);
    this.#reconnecting.show(room, session);
    this.#off = [
      this.#media.attach(room),
      call.on("state", () => this.#changed()),
      call.on("leg", () => this.#changed()),
      call.on("members", () => this.#controls()),
      room.on("state", () => this.#tick()),
      room.on("participants", () => {
        const names = [...room.participants.values()].map((participant) => participant.name);
        byId("call-name").textContent = names.length > 1 || (call.group && names.length > 0) ? listed(names) : name;
      }),
      room.on("muted", () => this.#controls()),
      room.on("hushed", (source) => notice(`The host turned off your ${source === "screen" ? "shared screen" : source}.`)),
      room.on("quality", () => {
        byId("call-trouble").textContent = troubleOf(room);
      }),
      room.on("interrupted", ({ source, interrupted }) => {
        // The camera of a page in the background is expected to stop; a microphone that does leaves somebody talking to nobody.
        if (source === "microphone" && interrupted) notice(MICROPHONE_TAKEN);
        else if (source === "microphone") announce("Your microphone is back");
      }),
      room.on("blocked", () => {
        byId("play-blocked").hidden = false;
      }),
      this.#media.on("track", () => this.#controls()),
    ];
    if (this.#devices.speaker) room.setSpeaker(this.#devices.speaker);
    this.#open("microphone");
    if (options.camera) this.#open("camera");
    this.#timer = setInterval(() => this.#tick(), 250);
    if (call.direction === "outgoing") tones.startRingback();
    this.#changed();
    this.#controls();
    root.tabIndex = -1;
    root.focus();
  }

  /** @param {"microphone"|"camera"|"screen"} source */
  async #open(source) {
    const { call } = this;
    try {
      await this.#media.open(source);
    } catch (error) {
      const { code } = /** @type {{code?: string}} */ (error);
      if (this.call !== call || code === "closed") return;
      // Dismissing the browser's own chooser is no error.
      if (source === "screen" && code === "permission_denied") return;
      const unheard = source === "microphone" && code !== "insecure_context" ? " Nobody hears you meanwhile." : "";
      notice(errorText(error) + unheard, { stay: true });
    }
  }

  #changed() {
    const { call } = this;
    if (!call) return;
    const before = root.dataset.state;
    root.dataset.state = call.state;
    if (call.state === "ended") {
      if (before !== "ended") this.#ended(call);
      return;
    }
    byId("ringing-status").textContent = call.direction === "outgoing" ? ringingText(call) : "Connecting…";
    if (call.state === "active" && before !== "active") {
      tones.stop();
      tones.answered();
      announce(`Connected with ${nameOf(call)}`);
      this.#stage?.layout();
      this.#pip.show(call.room);
      // A voice call goes on while the screen sleeps.
      this.#wakeLock.keep(call.kind === "video");
    }
    this.#controls();
    this.#tick();
  }

  /** @param {Call} call */
  #ended(call) {
    tones.stop();
    // The call that was answered too late goes on as one of our own.
    if (call.reason === "called_back") return;
    const talked = call.activeAt !== undefined;
    tones.ended(!talked && call.outcome !== "cancelled");
    const { title, detail } = endText(call);
    byId("ringing-name").textContent = nameOf(call);
    byId("ringing-status").replaceChildren(element("strong", {}, title), " ", detail);
    announce(`${title}. ${detail}`);
    const done = element("button", { class: "button quiet", type: "button", onclick: () => this.#finish() }, "Done");
    const again = element(
      "button",
      { class: "button primary", type: "button", onclick: () => this.#actions.again(call) },
      icon(call.kind === "video" ? "camera" : "call"),
      element("span", {}, "Call again"),
    );
    // Of a group call one has left, or was cut off from, the others are still in it.
    const left = call.reason === "left" || (call.group && talked && call.reason === "failed");
    const back = element(
      "button",
      { class: "button primary", type: "button", id: "come-back", onclick: () => this.#actions.back(call) },
      icon(call.kind === "video" ? "camera" : "call"),
      element("span", {}, "Come back"),
    );
    byId("ringing-actions").replaceChildren(done, left ? back : again);
    (talked && !left ? done : left ? back : again).focus();
    byId("play-blocked").hidden = true;
    clearInterval(this.#timer);
    this.#stage?.close();
    this.#stage = undefined;
    this.#reactions.hide();
    this.#status.hide();
    this.#group.hide();
    this.#pip.hide();
    this.#reconnecting.hide();
    this.#wakeLock.keep(false);
    for (const off of this.#off.splice(0)) off();
    this.#devices.inCall = false;
    // A note may be left for it: the devices stay open until that is known.
    if (!call.roomKept) this.#media.closeAll();
    if (talked && call.reason === "answered" && !call.roomKept) this.#farewell = setTimeout(() => this.#finish(), FAREWELL_MS);
  }

  #finish() {
    if (!this.call?.isOver) return;
    this.leave();
    this.#media.closeAll();
    this.#actions.done();
  }

  /** Takes the call off the screen. A room that was kept for a note which is not on the screen yet is left. */
  leave() {
    if (this.call?.isOver && !this.call.note) this.call.room.leave();
    clearTimeout(this.#farewell);
    clearInterval(this.#timer);
    this.#stage?.close();
    this.#stage = undefined;
    this.#reactions.hide();
    this.#status.hide();
    this.#group.hide();
    this.#pip.hide();
    this.#reconnecting.hide();
    this.#wakeLock.keep(false);
    for (const off of this.#off.splice(0)) off();
    delete root.dataset.state;
    this.call = null;
  }

  #tick() {
    const { call } = this;
    if (!call || call.activeAt === undefined) return;
    const connected = call.room.state === "connected" || call.room.state === "reconnecting";
    byId("call-status").textContent = connected ? clock(performance.now() - call.activeAt) : "Connecting…";
  }

  #controls() {
    const room = this.call?.room;
    if (!room) return;
    const { tracks } = this.#media;
    /** @param {HTMLElement} button @param {boolean} on @param {string} shown @param {string} hidden @param {string} label */
    const set = (button, on, shown, hidden, label) => {
      button.setAttribute("aria-pressed", String(on));
      setIcon(button, on ? shown : hidden);
      const text = button.querySelector("span");
      if (text) text.textContent = label;
    };
    const heard = !room.isMuted("microphone");
    set(mic, heard, "mic", "mic-off", heard ? "Mute" : tracks.microphone ? "Unmute" : "No microphone");
    set(camera, tracks.camera !== null, "camera", "camera-off", tracks.camera ? "Camera off" : "Camera on");
    set(screen, tracks.screen !== null, "screen", "screen", tracks.screen ? "Stop sharing" : "Share screen");
    root.toggleAttribute("data-own-camera", tracks.camera !== null);
    const text = byId("control-end").querySelector("span");
    if (text) text.textContent = this.call?.state !== "active" ? "Cancel" : this.call.group ? "Leave" : "Hang up";
  }

  toggleMicrophone() {
    const room = this.call?.room;
    if (!room || this.call?.isOver) return;
    if (!this.#media.tracks.microphone) {
      room.mute("microphone", false);
      this.#open("microphone");
      return;
    }
    if (this.#media.tracks.microphone.muted) return void this.#reopen("microphone");
    const muted = !room.isMuted("microphone");
    room.mute("microphone", muted);
    announce(muted ? "Muted" : "Unmuted");
  }

  /** @param {"microphone"|"camera"} source taken by the system; a tap gets it back where that is possible */
  async #reopen(source) {
    this.call?.room.mute(source, false);
    try {
      await this.#media.reopen(source);
    } catch (error) {
      notice(errorText(error), { stay: true });
    }
  }

  toggleCamera() {
    if (!this.call || this.call.isOver) return;
    if (this.#media.tracks.camera?.muted) return void this.#reopen("camera");
    if (this.#media.tracks.camera) this.#media.close("camera");
    else this.#open("camera");
  }

  toggleScreen() {
    if (!this.call || this.call.isOver || screen.hidden) return;
    if (this.#media.tracks.screen) this.#media.close("screen");
    else this.#open("screen");
  }

  end() {
    this.call?.end().catch((error) => notice(errorText(error)));
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (!this.call || document.querySelector("dialog[open]") || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.repeat) return;
    switch (event.key) {
      case "m":
        return this.toggleMicrophone();
      case "v":
        return this.toggleCamera();
      case "s":
        return this.toggleScreen();
      case "d":
        return this.call.isOver ? undefined : this.#devices.open();
      case "g":
        return this.call.isOver ? undefined : toggleSpeakerOverlay(this.call.room);
      case "p":
        return void this.#pip.toggle();
      case "H":
        return this.end();
      case "Escape":
        // Back one step: the outcome, the ringing, the pinned tile. A talk is not ended by a slip of the finger.
        if (this.call.isOver) this.#finish();
        else if (this.call.state !== "active") this.end();
        else if (this.#stage?.pinned) this.#stage.pin(null);
    }
  }
}

