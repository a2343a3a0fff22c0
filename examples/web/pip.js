/**
 * Picture-in-picture: whom the stage looks at, in a small window over everything else, with the name under the face, the light
 * of their voice, and buttons to mute and to hang up. That is a document of its own where the browser has such (Document
 * Picture-in-Picture); elsewhere it is a bare video, which shows a drawn face and name while there is no picture.
 */
import { avatar, byId, element, icon, notice, setIcon } from "./dom.js";
import { Tile } from "./tile.js";

/** @typedef {import("./ringback/ringback.js").Participant} Participant */
/** @typedef {import("./ringback/ringback.js").Room} Room */
/** @typedef {{toggleMicrophone: () => void, end: () => void}} CallButtons */
/** @typedef {{requestWindow: (options: {width: number, height: number}) => Promise<Window>}} DocumentPictureInPicture */
/** @typedef {{participant: Participant, source: "camera"|"screen"}} Shown */

/** In CSS pixels; the browser remembers what the user makes of it. */
const SIZE = { width: 384, height: 288 };

const button = byId("call-pip");

/** @returns {DocumentPictureInPicture|undefined} */
const documents = () => /** @type {any} */ (window).documentPictureInPicture;

/** Whom to show: what the server says to look at, otherwise the first with a picture. @param {Room} room @returns {Shown|null} */
function wanted({ focus, participants }) {
  const participant = focus && participants.get(focus.participant);
  if (participant) return { participant, source: focus.source === "screen" ? "screen" : "camera" };
  const people = [...participants.values()];
  const first = people.find((person) => !person.isMuted("camera")) ?? people[0];
  return first ? { participant: first, source: "camera" } : null;
}

export class PictureInPicture {
  /** @type {Room|null} */
  #room = null;
  /** What is open. @type {{show: (shown: Shown|null, room: Room) => void, close: () => void}|null} */
  #view = null;
  /** @type {(() => void)[]} */
  #off = [];
  #buttons;

  /** @param {CallButtons} buttons */
  constructor(buttons) {
    this.#buttons = buttons;
    button.addEventListener("click", () => void this.toggle());
  }

  static get available() {
    return documents() !== undefined || document.pictureInPictureEnabled === true;
  }

  /** A call is active. @param {Room} room */
  show(room) {
    if (this.#room === room) return;
    this.hide();
    this.#room = room;
    button.hidden = !PictureInPicture.available;
    const render = () => this.#view?.show(wanted(room), room);
    for (const what of /** @type {const} */ (["participants", "focus", "speaking", "label", "muted"])) this.#off.push(room.on(what, render));
    // The browser's own buttons, and its offer to open this when the page is left.
    this.#off.push(
      onMediaAction("enterpictureinpicture", () => void this.#open()),
      onMediaAction("togglemicrophone", () => this.#buttons.toggleMicrophone()),
      onMediaAction("hangup", () => this.#buttons.end()),
    );
  }

  hide() {
    for (const off of this.#off.splice(0)) off();
    this.#view?.close();
    this.#room = null;
    button.hidden = true;
  }

  /** Needs a gesture. */
  async toggle() {
    if (this.#view) this.#view.close();
    else await this.#open();
  }

  async #open() {
    const room = this.#room;
    if (!room || this.#view || !PictureInPicture.available) return;
    const closed = () => {
      this.#view = null;
      button.setAttribute("aria-pressed", "false");
    };
    try {
      const view = documents() ? await DocumentView.open(this.#buttons, closed) : await VideoView.open(wanted(room), closed);
      // Opening takes a moment, in which the call may have ended.
      if (this.#room !== room) return view.close();
      this.#view = view;
      button.setAttribute("aria-pressed", "true");
      view.show(wanted(room), room);
    } catch {
      notice("The browser did not open the small window.");
    }
  }
}

/** A window of our own, with a tile as on the stage. */
class DocumentView {
  #window;
  #mic;
  #closed;
  #stage = element("div", { class: "pip-stage" });
  #video = element("video", { autoplay: true, playsinline: true });
  /** @type {Tile|undefined} */
  #tile;
  #shown = "";

  /** @param {CallButtons} buttons @param {() => void} closed */
  static async open(buttons, closed) {
    return new DocumentView(await /** @type {DocumentPictureInPicture} */ (documents()).requestWindow(SIZE), buttons, closed);
  }

  /** @param {Window} opened @param {CallButtons} buttons @param {() => void} closed */
  constructor(opened, buttons, closed) {
    this.#window = opened;
    this.#closed = closed;
    this.#video.muted = true;
    this.#mic = element("button", { class: "round-button", type: "button", onclick: buttons.toggleMicrophone }, icon("mic"));
    const end = element("button", { class: "round-button end", type: "button", "aria-label": "Hang up", title: "Hang up", onclick: buttons.end }, icon("hangup"));
    const { head, body } = opened.document;
    for (const link of document.querySelectorAll("link[rel=stylesheet]")) {
      head.append(element("link", { rel: "stylesheet", href: /** @type {HTMLLinkElement} */ (link).href }));
    }
    opened.document.title = "Ringback";
    opened.document.documentElement.lang = document.documentElement.lang;
    body.className = "pip";
    const sprite = document.querySelector(".sprite")?.cloneNode(true);
    if (sprite) body.append(sprite);
    body.append(this.#stage, element("div", { class: "pip-buttons" }, this.#mic, end));
    opened.addEventListener("resize", () => this.#place());
    opened.addEventListener("pagehide", () => this.#gone());
  }

  /** @param {Shown|null} shown @param {Room} room */
  show(shown, room) {
    const heard = !room.isMuted("microphone");
    this.#mic.setAttribute("aria-pressed", String(heard));
    this.#mic.setAttribute("aria-label", heard ? "Mute" : "Unmute");
    setIcon(this.#mic, heard ? "mic" : "mic-off");
    const key = shown ? `${shown.participant.id}/${shown.source}` : "";
    if (key !== this.#shown) {
      this.#shown = key;
      this.#tile = shown ? new Tile({ name: shown.participant.name, kind: shown.source === "screen" ? "screen" : "person" }) : undefined;
      this.#stage.replaceChildren(this.#tile?.root ?? element("p", {}, "Nobody else is here."));
      this.#place();
    }
    if (!this.#tile || !shown) return;
    const { participant, source } = shown;
    this.#tile.speaking = participant.speaking;
    this.#tile.root.toggleAttribute("data-stage", participant.speaking);
    this.#tile.muted = participant.isMuted("microphone");
    this.#tile.camera = !participant.isMuted(source);
    // Null while it is not certain whose picture it is: then the name stands under a face of initials.
    play(this.#video, source === "screen" ? participant.screen : participant.video);
    const { picture } = this.#tile;
    if (this.#video.srcObject) picture.dataset.video = "live";
    else delete picture.dataset.video;
    if (this.#video.parentElement !== picture) picture.append(this.#video);
  }

  #place() {
    this.#tile?.place({ x: 0, y: 0, width: this.#window.innerWidth, height: this.#window.innerHeight });
  }

  close() {
    this.#window.close();
    this.#gone();
  }

  #gone() {
    play(this.#video, null);
    this.#closed();
  }
}

/** The browser's own window for a video. */
class VideoView {
  #video = element("video", { autoplay: true, playsinline: true, class: "pip-video" });
  #canvas = element("canvas", { width: "640", height: "480" });
  /** @type {MediaStream|undefined} */
  #drawn;

  /** @param {Shown|null} shown @param {() => void} closed */
  static async open(shown, closed) {
    const view = new VideoView(closed);
    try {
      view.#look(shown);
      if (view.#video.readyState === HTMLMediaElement.HAVE_NOTHING) {
        await new Promise((resolve) => view.#video.addEventListener("loadedmetadata", resolve, { once: true }));
      }
      await view.#video.requestPictureInPicture();
    } catch (error) {
      view.#video.remove();
      throw error;
    }
    return view;
  }

  /** @param {() => void} closed */
  constructor(closed) {
    this.#video.muted = true;
    this.#video.addEventListener("leavepictureinpicture", () => {
      play(this.#video, null);
      this.#video.remove();
      closed();
    });
    document.body.append(this.#video);
  }

  /** @param {Shown|null} shown */
  show(shown) {
    this.#look(shown);
  }

  /** @param {Shown|null} shown */
  #look(shown) {
    const picture = shown && (shown.source === "screen" ? shown.participant.screen : shown.participant.video);
    if (!picture) this.#draw(shown?.participant.name ?? "");
    play(this.#video, picture ?? this.#drawn ?? null);
  }

  /** @param {string} name */
  #draw(name) {
    this.#drawn ??= this.#canvas.captureStream(5);
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    const { width, height } = this.#canvas;
    const face = avatar(name);
    context.fillStyle = "#19201d";
    context.fillRect(0, 0, width, height);
    context.fillStyle = `oklch(42% 0.085 ${face.style.getPropertyValue("--hue")})`;
    context.beginPath();
    context.arc(width / 2, height * 0.42, 120, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "#edf2ee";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.font = "600 96px system-ui, sans-serif";
    context.fillText(face.textContent ?? "", width / 2, height * 0.42);
    context.font = "600 40px system-ui, sans-serif";
    context.fillText(name, width / 2, height * 0.85, width - 40);
  }

  close() {
    if (document.pictureInPictureElement === this.#video) void document.exitPictureInPicture();
  }
}

/** @param {HTMLVideoElement} video @param {MediaStream|null} stream */
function play(video, stream) {
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  if (stream) video.play().catch(() => {});
}

/**
 * @param {string} action not every browser knows each
 * @param {() => void} handler
 * @returns {() => void} takes it away
 */
function onMediaAction(action, handler) {
  const set = (/** @type {(() => void)|null} */ what) => {
    try {
      navigator.mediaSession?.setActionHandler(/** @type {MediaSessionAction} */ (action), what);
    } catch {
      // Unknown here.
    }
  };
  set(handler);
  return () => set(null);
}
