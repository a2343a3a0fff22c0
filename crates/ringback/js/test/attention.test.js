// `node --test`: who is taken to be at the page, and what the server is told of it, against a page and a socket that are played.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Emitter } from "../emitter.js";
import { Notifications } from "../notifications.js";

class Page extends EventTarget {
  hidden = false;
  focused = true;
  hasFocus() {
    return this.focused;
  }
}

class Socket extends Emitter {
  /** @type {(string|null)[]} */
  views = [];
  async request(type, { thread }) {
    assert.equal(type, "thread.view");
    this.views.push(thread);
  }
}

/** @type {Page} */
let page;
/** @type {Socket} */
let socket;
/** @type {any[]} */
let sent;
/** @type {Notifications} */
let notifications;
const windowEvents = new EventTarget();

beforeEach(() => {
  mock.timers.enable({ apis: ["Date", "setTimeout"] });
  page = new Page();
  Object.assign(globalThis, {
    document: page,
    addEventListener: windowEvents.addEventListener.bind(windowEvents),
    removeEventListener: windowEvents.removeEventListener.bind(windowEvents),
  });
  socket = new Socket();
  sent = [];
  const http = { send: async (...what) => (sent.push(what), { counts: {} }) };
  notifications = new Notifications(/** @type {any} */ (http), /** @type {any} */ (socket));
});

afterEach(() => {
  notifications.lookAt(null);
  mock.timers.reset();
  for (const name of ["document", "addEventListener", "removeEventListener"]) delete (/** @type {any} */ (globalThis)[name]);
});

const turn = (/** @type {string} */ event) => windowEvents.dispatchEvent(new Event(event));

test("a thread is in view while its page is visible, focused and used", () => {
  notifications.lookAt("t1");
  notifications.lookAt("t1");
  assert.deepEqual(socket.views, ["t1"]);
  page.focused = false;
  turn("blur");
  page.focused = true;
  turn("focus");
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual(socket.views, ["t1", null, "t1", null]);
  notifications.lookAt(null);
  assert.deepEqual(socket.views, ["t1", null, "t1", null], "nothing new");
});

test("whoever touches nothing for a minute has walked away until they do", () => {
  notifications.lookAt("t1");
  mock.timers.tick(50_000);
  turn("keydown");
  mock.timers.tick(50_000);
  assert.deepEqual(socket.views, ["t1"]);
  mock.timers.tick(10_001);
  assert.deepEqual(socket.views, ["t1", null]);
  turn("pointermove");
  assert.deepEqual(socket.views, ["t1", null, "t1"]);
});

test("a view ends with its socket, and the next one is told again", () => {
  notifications.lookAt("t1");
  socket.emit("hello", {});
  assert.deepEqual(socket.views, ["t1", "t1"]);
});

test("what came into the thread in view was seen, and nothing else", () => {
  const ids = ["note:1"];
  const asked = (/** @type {string} */ thread) => notifications.handle({ seq: 1, event: "notification.in_view", thread, ids });
  asked("t1");
  notifications.lookAt("t1");
  asked("t2");
  assert.deepEqual(sent, []);
  asked("t1");
  assert.deepEqual(sent, [["POST", "notifications/seen", { ids, until: undefined }]]);
  page.focused = false;
  turn("blur");
  asked("t1");
  assert.equal(sent.length, 1);
});
