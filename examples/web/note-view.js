/**
 * Leaving a note, from the question to "sent": the countdown, the recording with its level and its time, listening,
 * another take, sending or discarding. What it shows is the note's state; what it does is ask the note.
 */
import { announce, avatar, byId, element, icon } from "./dom.js";
import { watchLevel } from "./level.js";
import { ask } from "./note-card.js";
import { expiryText, kindName, noteErrorText, promptTitle, reasonText, recipients } from "./note-words.js";
import { Player, silence } from "./player.js";
import { showLocal } from "./tile.js";
import { LiveWaveform } from "./waveform.js";
import { clock } from "./words.js";

/** @typedef {import("./devices.js").Devices} Devices */
/** @typedef {import("./ringback/ringback.js").LocalMedia} LocalMedia */
/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {{done: (note: Note) => void, again: (note: Note) => void}} NoteActions */

const root = byId("note");
const stage = byId("note-stage");
const hint = byId("note-hint");
const actions = byId("note-actions");
const keep = byId("note-keep");
const choose = byId("note-devices");
/** How long "Sent" stays. */
const SENT_MS = 1600;
/** A microphone that brings less than this for so long is likely muted or the wrong one. */
const HEARD_LEVEL = 0.22;
const UNHEARD_MS = 3500;
/** Announced to screen readers when this much is left. */
const LAST_MS = 10_000;
/** Why a take is recorded on the device. */
const HERE = "Your connection carries no sound just now, so this is recorded on the device and goes up as it can.";
/** Bars of the waveform that grows. */
const BARS = 44;

export class NoteView {
  /** @type {Note|null} */
  note = null;
  #media;
  #devices;
  #actions;
  #outcome = "";
  /** @type {(() => void)[]} */
  #off = [];
  /** What stops with the state that is shown. @type {(() => void)[]} */
  #offState = [];
  /** @type {(() => void)|undefined} */
  #offRoom;
  #shown = "";
  #busy = false;
  #error = "";
  /** `performance.now()` when the microphone was last heard. */
  #heardAt = 0;

  /**
   * @param {LocalMedia} media
   * @param {Devices} devices
   * @param {NoteActions} given
   */
  constructor(media, devices, given) {
    this.#media = media;
    this.#devices = devices;
    this.#actions = given;
    choose.addEventListener("click", () => devices.open());
    keep.addEventListener("click", () => this.leave());
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {Note} note offered, or a draft
   * @param {string} [outcome] of the call that nobody answered
   */
  show(note, outcome = "no_answer") {
    this.close({ keepMedia: true });
    silence();
    this.note = note;
    this.#outcome = outcome;
    this.#shown = "";
    this.#busy = false;
    this.#error = "";
    document.body.dataset.view = "note";
    root.dataset.kind = note.kind;
    this.#off = [
      note.on("change", () => this.#changed()),
      note.on("room", () => this.#attach()),
      this.#media.on("track", () => this.#preview()),
    ];
    const timer = setInterval(() => this.#tick(), 100);
    this.#off.push(() => clearInterval(timer));
    this.#devices.inCall = true;
    // Only what the note is made of stays open.
    this.#media.close("screen");
    if (note.kind === "voice") this.#media.close("camera");
    if (note.state === "offered") note.enter();
    this.#attach();
    this.#render();
  }

  #attach() {
    this.#offRoom?.();
    this.#offRoom = this.note?.room && this.#media.attach(this.note.room);
  }

  #changed() {
    const { note } = this;
    if (!note) return;
    if (note.state === "discarded" || note.deleted) return this.#finish();
    // The devices are open for a take and for nothing else.
    if (note.state === "draft" || note.isOver || note.isUploading) this.#media.closeAll();
    this.#render();
  }

  #render() {
    const { note } = this;
    if (!note) return;
    const state = stateOf(note);
    const shown = JSON.stringify([state, note.take, note.reason, note.canRecord, note.isHere, this.#busy, this.#error]);
    if (shown === this.#shown) return;
    const sameState = this.#shown !== "" && root.dataset.state === state && root.dataset.take === String(note.take);
    this.#shown = shown;
    root.dataset.state = state;
    root.dataset.take = String(note.take);
    if (!sameState) {
      for (const off of this.#offState.splice(0)) off();
      stage.replaceChildren(...this.#stageOf(note));
      this.#preview();
    }
    const texts = this.#textsOf(note);
    byId("note-title").textContent = texts.title;
    byId("note-status").textContent = texts.status;
    hint.textContent = this.#error || texts.hint;
    hint.toggleAttribute("data-error", this.#error !== "");
    keep.hidden = note.state !== "draft";
    choose.hidden = note.isHere || !["offered", "countdown", "recording"].includes(note.state) || !this.#media.tracks.microphone;
    actions.replaceChildren(...this.#actionsOf(note));
    const primary = /** @type {HTMLElement|null} */ (actions.querySelector("[data-primary]:not(:disabled)"));
    (primary ?? byId("note-title")).focus();
    if (!sameState) announce([texts.title, texts.status, texts.hint].filter(Boolean).join(". "));
    this.#tick();
  }

  /** @param {Note} note @returns {{title: string, status: string, hint: string}} */
  #textsOf(note) {
    const name = recipients(note);
    const kind = kindName(note);
    const reason = reasonText(note, name);
    switch (stateOf(note)) {
      case "offered":
        return {
          title: promptTitle(name, this.#outcome, note.to.length > 1),
          status: `Leave a ${kind}?`,
          hint: reason || (note.canRecord ? "" : "The connection is gone, so nothing can be recorded any more."),
        };
      case "countdown":
        return { title: `${capital(kind)} for ${name}`, status: "Recording starts in", hint: "" };
      case "recording":
        return { title: `${capital(kind)} for ${name}`, status: note.isHere ? "Recording on this device" : "Recording", hint: note.isHere ? HERE : "" };
      case "uploading":
        return { title: `${capital(kind)} for ${name}`, status: "Uploading what you said…", hint: "Keep this page open until it is there." };
      case "saving":
        return { title: `${capital(kind)} for ${name}`, status: "One moment…", hint: "" };
      case "draft":
        return { title: `${capital(kind)} for ${name}`, status: "Not sent yet", hint: reason || expiryText(note) };
      case "sent":
        return { title: `Sent to ${name}`, status: "They find it with the missed call and among their notes.", hint: "" };
      default:
        return { title: "Too late", status: `This ${kind} was not recorded in time.`, hint: "" };
    }
  }

  /** @param {Note} note @returns {Node[]} */
  #stageOf(note) {
    const video = note.kind === "video";
    const preview = element("div", { class: "note-preview", id: "note-preview" });
    const face = element("div", { class: "note-face" }, avatar(recipients(note)));
    switch (stateOf(note)) {
      case "offered":
        return video ? [preview, face] : [face];
      case "countdown": {
        const number = element("p", { class: "note-number", id: "note-number", "aria-hidden": "true" });
        return video ? [preview, number] : [number, this.#live()];
      }
      case "recording": {
        this.#heardAt = performance.now();
        const left = element("span", { id: "note-left" });
        const time = element("p", { class: "note-time" }, element("i", { class: "note-dot" }), element("strong", { id: "note-elapsed" }), left);
        return video ? [preview, time, this.#live()] : [time, this.#live()];
      }
      case "uploading":
        return [element("progress", { class: "note-arrived", id: "note-arrived", max: "1", value: "0", "aria-label": "Sent so far" })];
      case "saving":
        return [element("div", { class: "note-wait", "aria-hidden": "true" })];
      case "draft": {
        const player = new Player(note, { label: `your ${kindName(note)}` });
        this.#offState.push(() => player.close());
        return [player.root];
      }
      case "sent":
        setTimeout(() => this.note === note && this.#finish(), SENT_MS);
        return [element("div", { class: "note-sent", "aria-hidden": "true" }, icon("check"))];
      default:
        return [face];
    }
  }

  /** The microphone's level as a waveform that grows, and as a meter where motion is not wanted. */
  #live() {
    const wave = new LiveWaveform(BARS);
    const bar = element("i");
    const meter = element("div", { class: "meter", role: "img", "aria-label": "Microphone level" }, bar);
    let loudest = 0;
    let ticks = 0;
    /** @param {number} level */
    const onLevel = (level) => {
      bar.style.transform = `scaleX(${level.toFixed(3)})`;
      if (level > HEARD_LEVEL) this.#heardAt = performance.now();
      loudest = Math.max(loudest, level);
      if (++ticks % 2 === 0) {
        // A quiet room is flat: what is drawn begins where speech does.
        wave.push(Math.max(0, (loudest - 0.3) / 0.7) ** 1.5);
        loudest = 0;
      }
    };
    let off = () => {};
    const watch = () => {
      off();
      const { microphone } = this.#media.tracks;
      off = microphone ? watchLevel(microphone, onLevel) : () => {};
    };
    watch();
    this.#offState.push(this.#media.on("track", ({ source }) => source === "microphone" && watch()), () => off());
    return element("div", { class: "note-live" }, wave.root, meter);
  }

  #preview() {
    const preview = document.getElementById("note-preview");
    const { camera } = this.#media.tracks;
    if (preview) showLocal(preview, camera);
    root.toggleAttribute("data-camera", Boolean(preview && camera));
  }

  /** @param {Note} note @returns {Node[]} */
  #actionsOf(note) {
    const again = disc("again", "call", "Call again", "", () => this.#actions.again(note));
    const record = disc("record", "rec", this.#busy ? "Connecting…" : "Record", "record", () => this.#record(false), true);
    record.disabled = this.#busy;
    switch (stateOf(note)) {
      case "offered":
        return [disc("no", "close", "Not now", "", () => this.leave()), ...(note.canRecord ? [record] : []), again];
      case "countdown":
        return [
          disc("cancel", "close", "Cancel", "", () => this.#do(() => note.stop())),
          disc("skip", "rec", "Start now", "record", () => this.#do(() => note.skip()), true),
        ];
      case "recording":
        return [disc("stop", "stop", "Stop", "record", () => this.#do(() => note.stop()), true)];
      case "draft": {
        const discard = disc("discard", "trash", "Discard", "", () => {});
        ask(discard, "Sure?", () => this.#do(() => note.discard()), (asked) => {
          const label = discard.querySelector("span");
          if (label) label.textContent = asked ? "Really?" : "Discard";
        });
        const send = disc("send", "send", "Send", "accept", () => this.#do(() => note.send()), true);
        const retake = disc("retake", "retake", this.#busy ? "Connecting…" : "Retake", "", () => this.#record(false));
        send.disabled = retake.disabled = this.#busy;
        return [discard, send, ...(note.canRecord ? [retake] : [])];
      }
      case "expired":
        return [disc("no", "close", "Done", "", () => this.#finish(), true), again];
      default:
        return [];
    }
  }

  /** @param {boolean} skipCountdown */
  async #record(skipCountdown) {
    const { note } = this;
    if (!note || this.#busy) return;
    silence();
    this.#busy = true;
    this.#error = "";
    this.#render();
    try {
      await this.#media.open("microphone");
      if (note.kind === "video") await this.#media.open("camera");
      note.enter();
      // Whoever was muted while it rang does not mean to leave silence.
      note.room?.mute("microphone", false);
      if (note.kind === "video") note.room?.mute("camera", false);
      await note.record({ skipCountdown }).catch((error) => this.#recordHere(note, error));
    } catch (error) {
      this.#error = noteErrorText(error);
      if (note.state === "draft") this.#media.closeAll();
    }
    this.#busy = false;
    if (this.note === note) this.#render();
  }

  /** Without a way to the server for media, this device records by itself. @param {Note} note @param {unknown} error why there is none */
  async #recordHere(note, error) {
    if (/** @type {{code?: string}} */ (error).code !== "timeout" || !note.canRecordHere || this.note !== note) throw error;
    const { microphone, camera } = this.#media.tracks;
    const tracks = [microphone, note.kind === "video" ? camera : null].filter((track) => track !== null);
    await note.recordHere(tracks);
  }

  /** @param {() => Promise<void>} act */
  async #do(act) {
    const { note } = this;
    this.#error = "";
    try {
      await act();
    } catch (error) {
      this.#error = noteErrorText(error);
    }
    if (this.note === note) this.#render();
  }

  #tick() {
    const { note } = this;
    if (!note) return;
    const passed = performance.now() - note.stateSince;
    if (note.isUploading) {
      /** @type {HTMLProgressElement|null} */ (document.querySelector("#note-arrived"))?.setAttribute("value", String(note.arrived));
    } else if (note.state === "countdown") {
      const left = Math.max(1, Math.ceil((note.countdownMs - passed) / 1000));
      const number = byId("note-number");
      if (number.textContent !== String(left)) {
        number.textContent = String(left);
        announce(String(left));
      }
      root.style.setProperty("--passed", String(Math.min(1, passed / note.countdownMs)));
    } else if (note.state === "recording") {
      const left = Math.max(0, note.maxMs - passed);
      byId("note-elapsed").textContent = clock(passed);
      byId("note-left").textContent = `${clock(Math.ceil(left / 1000) * 1000)} left`;
      root.style.setProperty("--passed", String(Math.min(1, passed / note.maxMs)));
      const last = left < LAST_MS;
      if (last && !root.hasAttribute("data-last")) announce("Ten seconds left");
      root.toggleAttribute("data-last", last);
      const unheard = performance.now() - this.#heardAt > UNHEARD_MS;
      this.#hint(unheard ? "Nothing comes from your microphone. Is it the right one?" : note.isHere ? HERE : "");
    } else if (note.state === "offered" && !note.reason && note.canRecord) {
      this.#hint(expiryText(note));
    }
    if (note.state !== "recording") root.removeAttribute("data-last");
  }

  /** Said once, however often it is true. @param {string} text */
  #hint(text) {
    if (!this.#error && hint.textContent !== text) hint.textContent = text;
  }

  /** Back to the page: an offer is declined, a take becomes a draft, a draft stays one. */
  leave() {
    const { note } = this;
    if (!note) return;
    if (note.state === "offered" || (note.state === "countdown" && !note.hasTake)) {
      note.discard().catch(() => note.leave());
    }
    this.#finish();
  }

  #finish() {
    const { note } = this;
    if (!note) return;
    this.close();
    this.#actions.done(note);
  }

  /**
   * Takes the note off the screen. What is open stays open on the server, as a draft where there is a take.
   * @param {{keepMedia?: boolean}} [options] whether the devices are needed right away
   */
  close({ keepMedia = false } = {}) {
    const { note } = this;
    if (!note) return;
    this.note = null;
    for (const off of [...this.#offState.splice(0), ...this.#off.splice(0)]) off();
    this.#offRoom?.();
    this.#offRoom = undefined;
    note.leave();
    this.#devices.inCall = false;
    stage.replaceChildren();
    delete root.dataset.state;
    if (!keepMedia) this.#media.closeAll();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { note } = this;
    if (!note || document.querySelector("dialog[open]") || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key !== "Escape" || event.repeat) return;
    // One step back, and nothing is lost by it.
    if (note.state === "countdown" || note.state === "recording") void this.#do(() => note.stop());
    else this.leave();
  }
}

/** What is seen of a note: its state, but that what this device recorded by itself is on its way. @param {Note} note */
const stateOf = (note) => (note.isUploading ? "uploading" : note.state);

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/**
 * @param {string} id
 * @param {string} symbol
 * @param {string} label
 * @param {string} look
 * @param {() => void} act
 * @param {boolean} [primary]
 */
function disc(id, symbol, label, look, act, primary = false) {
  return element(
    "button",
    { class: `disc ${look}`, type: "button", id: `note-${id}`, ...(primary && { "data-primary": true }), onclick: act },
    element("i", {}, icon(symbol)),
    element("span", {}, label),
  );
}
