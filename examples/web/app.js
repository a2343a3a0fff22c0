/**
 * The page: enter, see who is here, ring and be rung, leave and hear notes. It uses nothing but ringback.js.
 *
 * For tests and links, the address may carry
 *   ?name=Ann           enters as Ann without a click (sound then waits for the first gesture)
 *   &auto=accept        accepts whatever rings
 *   &call=bob,chloe     rings them as soon as they are here
 *   &kind=video         what `call` rings with; "voice" where absent
 * and `window.ringback` has what is live: `{session, media, call, room, note}`.
 */
import { CallView } from "./call-view.js";
import { Devices } from "./devices.js";
import { byId, notice } from "./dom.js";
import { Drafts } from "./drafts.js";
import { Groups, groupThread } from "./groups.js";
import { Inbox } from "./inbox.js";
import { isRinging, setUpIncoming, showIncoming } from "./incoming.js";
import { Lobby } from "./lobby.js";
import { Lounge } from "./lounge.js";
import { meet } from "./names.js";
import { NoteView } from "./note-view.js";
import { kindName } from "./note-words.js";
import { Pages } from "./pages.js";
import { Peace } from "./peace.js";
import { silence } from "./player.js";
import { LocalMedia, Ringback } from "./ringback/ringback.js";
import { ThreadView } from "./thread.js";
import * as tones from "./tones.js";
import { endText, errorText, nameOf } from "./words.js";

/** @typedef {import("./ringback/ringback.js").Call} Call */
/** @typedef {import("./ringback/ringback.js").Note} Note */
/** @typedef {import("./ringback/ringback.js").Session} Session */
/** @typedef {"voice"|"video"} CallKind */

/** How long the microphone stays open after entering: long enough for the browser to remember the permission. */
const WARM_MS = 1500;
/** After a sleep the browser may ask over a connection that is dead; a slow network answers sooner than this. */
const LOGIN_TIMEOUT_MS = 6_000;
/** The server writes a call down just after it has told of its end. */
const WRITTEN_MS = 500;

const parameters = new URLSearchParams(location.search);
const media = new LocalMedia();
const devices = new Devices(media, (deviceId) => (view.call?.room ?? lounge.room)?.setSpeaker(deviceId));
const lobby = new Lobby({ ring, threadLink });
const groups = new Groups({ ring, enter: (call) => void enterCall(call.id ?? "", call.kind), link: threadLink, changed: () => thread.showHead() });
const thread = new ThreadView({ ring, said: (id) => groups.said(id) });
const inbox = new Inbox({ ring, threadLink: (note) => pages.threadLink(note.thread, without(session?.user, [note.from, ...note.to])) });
const pages = new Pages({
  openThread: (id, users) => thread.open(id, users),
  closeThread: () => thread.close(),
  enterCall: (id) => void enterCall(id),
  openChat: (name) => lounge.open(name),
  openInbox: () => void inbox.open(),
});
const lounge = new Lounge(media, devices, () => {
  tones.enable();
  silence();
});
const view = new CallView(media, devices, {
  done: showLobby,
  back: (call) => void enterCall(call.id ?? "", call.kind),
  again: (call) => ring(othersIn(call), call.kind, call.group ? call.thread : undefined),
});
const noteView = new NoteView(media, devices, { done: noteDone, again: callAgain });
const drafts = new Drafts(() => noteView.note);
/** @type {Session|null} */
let session = null;
/** @type {Peace|null} */
let peace = null;

Object.defineProperty(window, "ringback", {
  value: {
    get session() {
      return session;
    },
    get call() {
      return view.call;
    },
    get room() {
      return view.call?.room ?? lounge.room;
    },
    get note() {
      return noteView.note;
    },
    media,
  },
});

const form = byId("enter-form");
const nameField = /** @type {HTMLInputElement} */ (byId("enter-name"));
nameField.value = parameters.get("name") ?? localStorage.getItem("ringback.name") ?? "";
form.addEventListener("submit", (event) => {
  event.preventDefault();
  tones.enable();
  void enter(nameField.value.trim());
});
// Sound that was not allowed yet comes with the first gesture, wherever it is.
addEventListener("pointerdown", tones.enable, { once: true });
addEventListener("keydown", tones.enable, { once: true });

setUpIncoming({ accept });
byId("lobby-devices").addEventListener("click", () => devices.open());
if (parameters.get("name")) void enter(nameField.value);
else nameField.focus();

/** @param {string} name */
async function enter(name) {
  if (!name || session) return;
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  byId("enter-error").textContent = "";
  button.disabled = true;
  try {
    const { token, ws } = await retrying(() => login(name));
    // A token source, so that a session that outlives its token gets a fresh one.
    let first = true;
    const source = async () => {
      if (first) {
        first = false;
        return token;
      }
      return (await login(name)).token;
    };
    const iceTransportPolicy = parameters.get("ice") === "relay" ? "relay" : "all";
    const connect = () => Ringback.connect({ url: ws, token: source, device: deviceId(), iceTransportPolicy });
    const opened = await retrying(connect);
    session = opened;
    localStorage.setItem("ringback.name", name);
    welcome(opened);
  } catch (error) {
    byId("enter-error").textContent = errorText(error);
  } finally {
    button.disabled = false;
  }
}

/**
 * A network that is just changing (Wi-Fi comes up, a VPN connects) breaks off what is under way; once more, and it works.
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>}
 */
async function retrying(ask) {
  for (let again = 2; ; again--) {
    try {
      return await ask();
    } catch (error) {
      if (again === 0 || /** @type {{code?: string}} */ (error).code !== "disconnected") throw error;
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
  }
}

/**
 * The example server's login; an app of your own brings its own tokens.
 * @param {string} name
 * @returns {Promise<{token: string, user: string, ws: string}>}
 */
async function login(name) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch("login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name }),
      signal: AbortSignal.timeout(LOGIN_TIMEOUT_MS),
    });
  } catch {
    throw { code: "disconnected" };
  }
  if (!response.ok) throw { message: (await response.text()) || `The server refused (${response.status}).` };
  return response.json();
}

/** One device for each tab: two tabs of one browser may then call one another. */
function deviceId() {
  let id = sessionStorage.getItem("ringback.device");
  if (!id) {
    const random = crypto.getRandomValues(new Uint8Array(9));
    id = `web-${Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    sessionStorage.setItem("ringback.device", id);
  }
  return id;
}

/** @param {Session} opened */
function welcome(opened) {
  document.body.dataset.view = "lobby";
  document.body.toggleAttribute("data-notes", opened.notes.available);
  lobby.setMe(opened.name);
  meet(opened.people);
  lobby.setPeople(opened.people);
  lounge.follow(opened);
  groups.follow(opened);
  if (opened.notes.available) followNotes(opened);
  else pages.apply();
  opened.on("people", (people) => {
    meet(people);
    lobby.setPeople(people);
    autoCall(opened);
  });
  opened.on("incoming", incoming);
  for (const call of opened.calls) incoming(call);
  opened.on("state", (state) => {
    const pill = byId("link-state");
    pill.textContent = "Reconnecting to the server…";
    pill.hidden = state !== "reconnecting";
    // What came meanwhile was not told.
    if (state === "open") void refresh();
  });
  opened.on("fatal", (error) => {
    session = null;
    lounge.close();
    groups.close();
    noteView.close();
    drafts.clear();
    inbox.clear();
    thread.close();
    peace?.close();
    document.body.dataset.view = "enter";
    byId("enter-error").textContent = errorText(error);
  });
  if (!LocalMedia.available) notice(errorText({ code: "insecure_context" }), { stay: true });
  else void warm();
  autoCall(opened);
}

/** @param {Session} opened */
function followNotes({ notes, user }) {
  thread.follow(/** @type {Session} */ (session));
  inbox.follow(/** @type {Session} */ (session));
  drafts.follow(/** @type {Session} */ (session));
  pages.apply();
  const threadOf = (/** @type {string} */ id, /** @type {string[]} */ users) => pages.threadLink(id, users);
  void Peace.open(/** @type {Session} */ (session), { threadLink: threadOf }).then((opened) => {
    peace = opened;
  });
  notes.on("sent", (note) => {
    // Where the server keeps the peace, it says when.
    if (peace || note.from.user === user || document.body.dataset.view !== "lobby") return;
    const link = { href: "#notes", text: "Listen" };
    notice(`${note.from.name} left you a ${kindName(note)}.`, location.hash === "#notes" ? {} : { link });
  });
}

async function refresh() {
  drafts.show();
  await thread.reload();
  if (location.hash === "#notes") await inbox.open();
}

/** @param {string|undefined} me @param {{user: string}[]} people @returns {string[]} */
const without = (me, people) => people.map(({ user }) => user).filter((user) => user !== me);

/** The others in a call, whoever rang: all of a group's. @param {Call} call @returns {string[]} */
function othersIn(call) {
  if (call.group || call.to.length > 1) return without(session?.user, [call.from, ...call.to]);
  return (call.direction === "incoming" ? [call.from] : call.to).map(({ user }) => user);
}

/**
 * @param {string[]} users
 * @param {string} [of] the thread, where it is not that of a pair
 * @returns {string|null} where this server keeps no calls, there is nothing to see
 */
function threadLink(users, of) {
  const [user] = users;
  if (!session?.notes.available || user === undefined) return null;
  const its = of ?? (users.length === 1 ? session.notes.threadWith(user) : groupThread([session.user, ...users]));
  return its === undefined ? null : pages.threadLink(its, users);
}

function showLobby() {
  document.body.dataset.view = "lobby";
  byId(thread.thread ? "thread-name" : "lobby-title").focus();
  drafts.show();
  void thread.reload();
}

/** A note was left, or not. @param {Note} note */
function noteDone(note) {
  showLobby();
  if (note.state === "sent") location.hash = pages.threadLink(note.thread, note.to.map(({ user }) => user));
}

/** @param {Note} note */
function callAgain(note) {
  if (note.state === "offered") note.discard().catch(() => {});
  noteView.close({ keepMedia: true });
  ring(note.to.map(({ user }) => user), note.kind, note.to.length > 1 ? note.thread : undefined);
}

/** Asks for the microphone once, so that no permission prompt stands between a ring and its answer. */
async function warm() {
  try {
    await media.open("microphone");
    setTimeout(() => {
      if (!view.call && !lounge.room && !noteView.note && !isRinging() && !document.querySelector("dialog[open]")) media.close("microphone");
    }, WARM_MS);
  } catch (error) {
    notice(errorText(error), { stay: true });
  }
}

let autoCalled = false;
/** @param {Session} opened */
function autoCall(opened) {
  const wanted = (parameters.get("call") ?? "").split(",").filter(Boolean);
  const here = wanted.every((user) => opened.people.some((person) => person.user === user));
  if (autoCalled || wanted.length === 0 || !here) return;
  autoCalled = true;
  ring(wanted, parameters.get("kind") === "video" ? "video" : "voice");
}

/**
 * @param {string[]} users
 * @param {CallKind} kind
 * @param {string} [of] their thread, where they are several and have one already
 */
function ring(users, kind, of) {
  if (!session || users.length === 0 || (view.call && !view.call.isOver)) return;
  silence();
  lounge.leave({ keepMedia: true });
  const its = users.length > 1 ? (of ?? groupThread([session.user, ...users])) : undefined;
  const call = session.call(users, { kind, ...(its && { thread: its }) });
  follow(call);
  view.show(call, session, { camera: kind === "video" });
}

/**
 * Comes into a group call that is going on: again, or by a link, for which its host is asked.
 * @param {string} id
 * @param {CallKind} [kind]
 */
async function enterCall(id, kind = "video") {
  if (!session || (view.call && !view.call.isOver)) return;
  const call = session.rejoin(id, { kind });
  const stranger = await new Promise((resolve) => {
    const off = call.on("state", () => {
      off();
      resolve(call.error?.code === "not_found");
    });
  });
  if (!stranger && !call.isOver) {
    lounge.leave({ keepMedia: true });
    follow(call);
    return view.show(call, session, { camera: call.kind === "video" });
  }
  if (!stranger) return void notice(call.error ? errorText(call.error) : "That call is over.");
  const waiting = notice("Asking to be let into the call…", { stay: true });
  try {
    const admitted = await session.knock(id);
    if (admitted) void enterCall(id, kind);
    else notice("You were not let in.");
  } catch {
    notice("That call is over.");
  }
  waiting.remove();
}

/** @param {Call} call */
function incoming(call) {
  follow(call);
  if (parameters.get("auto") === "accept") {
    accept(call, { camera: call.kind === "video" });
    return;
  }
  const current = view.call && !view.call.isOver ? view.call : null;
  silence();
  // One ring at a time; the second waits in the list of missed calls unless the first is answered.
  if (isRinging()) return void call.decline({ reason: "busy" }).catch(() => {});
  const note = noteView.note?.hasTake || noteView.note?.state === "recording" ? "your note is kept as a draft" : "";
  const chat = lounge.room ? `takes you out of ${lounge.name}` : note;
  showIncoming(call, current ? `ends your call with ${nameOf(current)}` : chat);
  void openIfGranted();
}

/** Gets the microphone ready while it rings, where that asks nobody anything. Nothing is sent before the call is accepted. */
async function openIfGranted() {
  try {
    const { state } = await navigator.permissions.query({ name: /** @type {PermissionName} */ ("microphone") });
    if (state === "granted") await media.open("microphone");
  } catch {
    // Not every browser tells; then it opens on accepting.
  }
}

/**
 * @param {Call} call
 * @param {{camera: boolean}} options
 */
function accept(call, options) {
  if (!session) return;
  const current = view.call;
  if (current && !current.isOver) void current.end().catch(() => {});
  noteView.close({ keepMedia: true });
  lounge.leave({ keepMedia: true });
  call.accept().then(
    (answered) => {
      if (answered === call || !session) return;
      // It had just ended, and rings them back now.
      follow(answered);
      if (view.call === call) view.show(answered, session, options);
    },
    (error) => notice(errorText(error)),
  );
  view.show(call, session, options);
}

/** Notes what becomes of a call, on the screen or not. @param {Call} call */
function follow(call) {
  call.on("note", (note) => offered(call, note));
  call.room.on("closed", () => {
    // It was kept for a note that was not offered after all.
    if (view.call === call && call.isOver && !call.note) media.closeAll();
  });
  call.on("state", (state) => {
    if (state === "active" || state === "ended") {
      meet([call.from, ...call.to]);
      groups.met(call, othersIn(call));
    }
    if (state !== "ended" || call.reason === "superseded" || call.reason === "called_back") return;
    lobby.remember(call, othersIn(call));
    setTimeout(() => void thread.reload(), WRITTEN_MS);
    if (view.call === call) return;
    if ((!view.call || view.call.isOver) && !noteView.note && !lounge.room) media.closeAll();
    if (call.reason !== "ignored" && call.reason !== "declined") {
      const { title, detail } = endText(call);
      notice(`${title}. ${detail}`);
    }
  });
}

/** @param {Call} call @param {Note} note */
function offered(call, note) {
  meet(call.to);
  // Whoever went on to something else does not want to leave one.
  if (view.call !== call) return void note.discard().catch(() => note.leave());
  view.leave();
  noteView.show(note, call.outcome);
}
