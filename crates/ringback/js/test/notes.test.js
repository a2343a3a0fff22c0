// `node --test`: notes as a caller and as a recipient, against a scripted server and a peer connection that connects at once.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Ringback } from "../ringback.js";

/** @typedef {Record<string, any>} Json */

/** The server's side of one socket: what was asked, and what it says. */
class Server {
  /** @type {Json[]} */
  requests = [];
  /** @type {Record<string, (request: Json) => Json>} `ok` by type; an `error` in it is an error */
  answers = {};
  /** @type {{url: string, token: string}[]} */
  fetched = [];
  /** @type {Record<string, Json>} bodies by path */
  pages = {};
  #socket;
  #seq = 0;

  hello = () => ({
    version: 1, user: "ann", name: "Ann", device: "d1", heartbeat_ms: 60_000, ice_servers: [], people: [], calls: [], rooms: [], notes: [], unheard: 0,
  });

  attach(socket) {
    this.#socket = socket;
  }

  receive(request) {
    this.requests.push(request);
    const answer = (this.answers[request.type] ?? (() => ({})))(request);
    const frame = answer?.error ? { re: request.id, error: answer.error } : { re: request.id, ok: answer };
    queueMicrotask(() => this.#socket.onmessage({ data: JSON.stringify(frame) }));
  }

  tell(event, fields) {
    this.#socket.onmessage({ data: JSON.stringify({ seq: ++this.#seq, event, ...fields }) });
  }

  lose() {
    this.#socket.onclose({ code: 1006, reason: "" });
  }

  asked(type) {
    return this.requests.filter((request) => request.type === type);
  }
}

/** @type {Server} */
let server;
/** @type {import("../session.js").Session} */
let session;

class FakeSocket {
  constructor() {
    server.attach(this);
    queueMicrotask(() => this.onopen());
  }
  send(text) {
    server.receive(JSON.parse(text));
  }
  close() {}
}

class FakePeer extends EventTarget {
  signalingState = "stable";
  connectionState = "new";
  iceConnectionState = "new";
  localDescription = { sdp: "offer" };
  #lines = 0;
  addTransceiver() {
    return { mid: String(this.#lines++), sender: { replaceTrack: async () => {} } };
  }
  createDataChannel() {
    return Object.assign(new EventTarget(), { readyState: "connecting", send: () => {}, close: () => {} });
  }
  async createOffer() {
    return { type: "offer", sdp: "offer" };
  }
  async setLocalDescription() {}
  async setRemoteDescription() {
    this.connectionState = "connected";
    this.dispatchEvent(new Event("connectionstatechange"));
  }
  close() {
    this.signalingState = "closed";
  }
}

beforeEach(async () => {
  server = new Server();
  server.answers = {
    hello: () => server.hello(),
    "call.place": ({ kind, to }) => ({ call: call({ kind, to: to.map((user) => ({ user })) }) }),
    "room.join": () => ({ participant: "p1", answer: "answer", slots: [], roster: [], stage: null, speaking: [] }),
  };
  Object.assign(globalThis, {
    WebSocket: FakeSocket,
    RTCPeerConnection: FakePeer,
    MediaStream: class {},
    ResizeObserver: class { observe() {} disconnect() {} },
    addEventListener: () => {},
    removeEventListener: () => {},
    fetch: async (url, { headers }) => {
      const { pathname, search } = new URL(url);
      server.fetched.push({ url: pathname + search, token: headers.authorization });
      if (headers.authorization === "Bearer old") return new Response("{}", { status: 401 });
      const page = server.pages[pathname];
      return page ? Response.json(page) : Response.json({ error: { code: "not_found", message: "no" } }, { status: 404 });
    },
  });
  session = await connect();
});
afterEach(() => session.close());

function connect(token = "t") {
  return Ringback.connect({ url: "https://call.example/base/v1/ws", token });
}

/** Lets what is on its way arrive. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

function call(more = {}) {
  return {
    id: "c1", kind: "voice", thread: "direct:ann:bob", room: "r1", from: { user: "ann", name: "Ann" }, to: [{ user: "bob" }],
    state: "ringing", placed_at: 1, ring_ms: 5_000, legs: [], ...more,
  };
}

function note(more = {}) {
  return {
    id: "n1", call: "c1", thread: "direct:ann:bob", kind: "voice", state: "offered", from: { user: "ann", name: "Ann" },
    to: [{ user: "bob", heard_at: null }], created_at: 1, sent_at: null, expires_at: 2, max_ms: 60_000, countdown_ms: 3_000, take: 0,
    reason: null, duration_ms: 0, size: 0, content_type: null, peaks: [], width: null, height: null, room: "r1", url: null, poster_url: null,
    ...more,
  };
}

const draft = (more = {}) =>
  note({ state: "draft", take: 1, duration_ms: 4_000, size: 9, url: "v1/notes/n1/media?user=YW5u&until=9", ...more });

function unanswered(more = {}) {
  server.tell("call.ended", { call: call({ state: "ended" }), outcome: "no_answer", reason: "no_answer", talk_ms: 0, ...more });
}

async function ringOut() {
  const ringing = session.call("bob");
  await settled();
  unanswered({ room_kept: true });
  return ringing;
}

test("the room of a call that nobody answered stays open for its note until the note is over", async () => {
  const rung = await ringOut();
  assert.equal(rung.state, "ended");
  assert.equal(rung.room.state, "connected");
  /** @type {any} */
  let offered;
  rung.on("note", (given) => (offered = given));
  server.tell("note.offered", { note: note(), unheard: 0 });
  assert.equal(offered.room, rung.room);
  assert.deepEqual(session.notes.open, [offered]);

  server.answers["note.record"] = () => ({ note: note({ state: "countdown" }) });
  await offered.record();
  assert.equal(offered.state, "countdown");
  assert.equal(server.asked("room.join").length, 1, "the caller is there already");
  server.tell("note.recording", { note: note({ state: "recording", take: 1 }), unheard: 0 });
  server.tell("note.draft", { note: draft(), unheard: 0 });
  assert.equal(offered.url, "https://call.example/base/v1/notes/n1/media?user=YW5u&until=9");
  assert.equal(rung.room.state, "connected", "for another take");
  server.tell("note.sent", { note: draft({ state: "sent", sent_at: 5, room: null }), unheard: 0 });
  assert.equal(rung.room.state, "closed");
  assert.deepEqual(session.notes.open, []);
});

test("without a note the call lets go of its room as ever", async () => {
  const ringing = session.call("bob");
  await settled();
  unanswered();
  assert.equal(ringing.room.state, "closed");
});

test("a kept room that the server closes ends what was kept for a note", async () => {
  const rung = await ringOut();
  assert.ok(rung.roomKept);
  server.tell("room.closed", { room: "r1", reason: "call_ended" });
  assert.ok(!rung.roomKept);
  assert.equal(rung.room.state, "closed");
});

test("a draft whose room the server has lost lets go of the microphone and stays a draft", async () => {
  const rung = await ringOut();
  server.tell("note.offered", { note: note(), unheard: 0 });
  server.tell("note.draft", { note: draft({ room: null, reason: "caller_gone" }), unheard: 0 });
  assert.equal(rung.room.state, "closed");
  assert.equal(rung.note?.state, "draft");
  assert.ok(!rung.note?.canRecord);
  await assert.rejects(/** @type {any} */ (rung.note).record(), { code: "conflict" });
});

test("after a busy call the note's room is joined before the first take", async () => {
  server.answers["call.place"] = () => ({ call: call({ state: "ended", outcome: "busy" }) });
  const busy = session.call("bob");
  await settled();
  assert.equal(busy.outcome, "busy");
  server.tell("note.offered", { note: note({ room: "r2" }), unheard: 0 });
  assert.equal(busy.note?.room, undefined);
  const room = busy.note?.enter();
  assert.equal(busy.note?.enter(), room, "one room");
  server.answers["note.record"] = () => ({ note: note({ state: "recording", take: 1, room: "r2" }) });
  await busy.note?.record({ skipCountdown: true });
  const order = server.requests.map(({ type }) => type);
  assert.ok(order.indexOf("room.join") < order.indexOf("note.record"));
  assert.deepEqual(server.asked("room.join")[0]?.room, "r2");
  assert.equal(server.asked("note.record")[0]?.skip_countdown, true);
});

test("an answer that an event has overtaken is not taken for news", async () => {
  server.tell("note.recording", { note: note({ state: "recording", take: 1 }), unheard: 0 });
  const [mine] = session.notes.open;
  server.answers["note.stop"] = () => {
    server.tell("note.draft", { note: draft(), unheard: 0 });
    return { note: note({ state: "saving", take: 1 }) };
  };
  await mine?.stop();
  assert.equal(mine?.state, "draft");
});

test("a take that was no good leaves the earlier one and says why", async () => {
  server.tell("note.draft", { note: draft(), unheard: 0 });
  const [mine] = session.notes.open;
  /** @type {string[]} */
  const changes = [];
  mine?.on("change", (what) => changes.push(`${what} ${mine.reason}`));
  server.tell("note.recording", { note: draft({ state: "recording", take: 2 }), unheard: 0 });
  server.tell("note.draft", { note: draft({ take: 2, reason: "silent" }), unheard: 0 });
  assert.deepEqual(changes, ["recording null", "draft silent"]);
  assert.ok(mine?.hasTake);
});

test("the count of unheard notes follows every event, and a note is heard only when the server says so", async () => {
  /** @type {number[]} */
  const counts = [];
  session.notes.on("count", (unheard) => counts.push(unheard));
  const theirs = draft({ state: "sent", from: { user: "bob", name: "Bob" }, to: [{ user: "ann", heard_at: null }] });
  server.tell("note.sent", { note: theirs, unheard: 1 });
  server.pages["/base/v1/inbox"] = { notes: [theirs], unheard: 1, next: "x" };
  const { notes: [received], next } = await session.notes.inbox({ unheardOnly: true, limit: 20 });
  assert.equal(next, "x");
  assert.equal(server.fetched.at(-1)?.url, "/base/v1/inbox?limit=20&unheard=true");
  assert.ok(received && !received.isOwn && !received.isHeard);
  server.tell("note.heard", { note: { ...theirs, to: [{ user: "ann", heard_at: 7 }] }, unheard: 0 });
  assert.ok(received.isHeard);
  server.tell("note.deleted", { note: theirs, unheard: 0 });
  assert.ok(received.deleted);
  assert.deepEqual(counts, [1, 0]);
});

test("a reaction is asked for, follows the server's word, and says which one is this user's", async () => {
  const theirs = draft({ state: "sent", from: { user: "bob", name: "Bob" }, to: [{ user: "ann", heard_at: 7 }] });
  server.tell("note.sent", { note: theirs, unheard: 0 });
  server.pages["/base/v1/inbox"] = { notes: [theirs], unheard: 0, next: null };
  const { notes: [note] } = await session.notes.inbox();
  assert.ok(note && note.reaction === null);
  void note.react("🎉").catch(() => {});
  await settled();
  assert.deepEqual(server.asked("note.react").map(({ note: id, emoji }) => [id, emoji]), [["n1", "🎉"]]);
  /** @type {string[]} */
  const changes = [];
  note.on("change", (what) => changes.push(what));
  const reactions = [{ user: "bob", emoji: "👍", at: 8 }, { user: "ann", emoji: "🎉", at: 9 }];
  server.tell("note.reacted", { note: { ...theirs, reactions }, unheard: 0 });
  assert.deepEqual([note.reaction, note.reactions], ["🎉", reactions]);
  server.tell("note.unreacted", { note: { ...theirs, reactions: reactions.slice(0, 1) }, unheard: 0 });
  assert.deepEqual([note.reaction, changes], [null, ["reacted", "unreacted"]]);
});

test("a thread's rows hold the same notes as everything else", async () => {
  server.tell("note.sent", { note: draft({ state: "sent" }), unheard: 0 });
  server.pages["/base/v1/threads/direct%3Aann%3Abob"] = {
    entries: [{ call: call({ state: "ended" }), outcome: "no_answer", placed_at: 1, ended_at: 2, talk_ms: 0, note: draft({ state: "sent" }) }],
    next: null,
  };
  const thread = session.notes.threadWith("bob");
  const { entries } = await session.notes.thread(thread);
  const again = await session.notes.thread(thread);
  assert.equal(entries[0]?.note?.state, "sent");
  assert.equal(entries[0]?.note, again.entries[0]?.note);
});

test("the thread of a pair is the same from both sides", () => {
  assert.equal(session.notes.threadWith("bob"), "direct:ann:bob");
  assert.equal(session.notes.threadWith("a:b%"), "direct:a%3Ab%25:ann");
});

test("a refused token is renewed once", async () => {
  session.close();
  const tokens = ["old", "new"];
  session = await connect(/** @type {any} */ (() => tokens.shift() ?? "none"));
  server.pages["/base/v1/inbox"] = { notes: [], unheard: 0, next: null };
  await session.notes.inbox();
  assert.deepEqual(server.fetched.map(({ token }) => token), ["Bearer old", "Bearer new"]);
  await assert.rejects(session.notes.thread("nobody's"), { code: "not_found" });
});

test("a draft from before the page was loaded is there, and a take that goes on without this page is ended", async () => {
  session.close();
  const hello = server.hello();
  server.hello = () => ({
    ...hello,
    notes: [draft({ id: "n1", room: null }), note({ id: "n2", state: "recording", take: 1, room: "r9" })],
    rooms: [{ room: "r9", participant: "p" }],
    unheard: 3,
  });
  session = await connect();
  assert.deepEqual(session.notes.open.map(({ id, state }) => [id, state]), [["n1", "draft"], ["n2", "recording"]]);
  assert.equal(session.notes.unheard, 3);
  assert.ok(!session.notes.open[0]?.canRecord);
  await settled();
  assert.equal(server.asked("room.leave")[0]?.room, "r9");
});

test("a note that ended while the connection was away is over afterwards", async () => {
  server.tell("note.draft", { note: draft(), unheard: 0 });
  const [mine] = session.notes.open;
  server.pages["/base/v1/notes/n1"] = { note: draft({ state: "expired" }) };
  server.lose();
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(session.state, "open");
  await settled();
  assert.equal(mine?.state, "expired");
});

test("accepting a call that has just ended while its caller leaves a note rings the caller back", async () => {
  const from = { user: "bob", name: "Bob" };
  server.tell("call.incoming", { call: call({ from, to: [{ user: "ann" }] }), expires_ms: 1 });
  const [incoming] = session.calls;
  server.answers["call.accept"] = () => ({ call: call({ id: "c2", room: "r2", to: [{ user: "bob", name: "Bob" }] }) });
  const back = await incoming?.accept();
  assert.equal(incoming?.reason, "called_back");
  assert.equal(back?.id, "c2");
  assert.equal(back?.direction, "outgoing");
  assert.equal(back?.state, "ringing");
  await settled();
  assert.equal(server.asked("room.join").at(-1)?.room, "r2");
  assert.deepEqual([...session.calls], [back]);
});
