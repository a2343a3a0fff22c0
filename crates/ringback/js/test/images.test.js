// `node --test`: images on request, against scripted answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { RingbackError } from "../errors.js";
import { Images } from "../images.js";

const info = (/** @type {object} */ fields = {}) => ({
  id: "i_1", revision: 1, thread: "direct:ann:bob", from: { user: "ann", name: "Ann" }, prompt: "a lighthouse", state: "queued", reason: null, detail: null, provider: "flux",
  again_of: null, created_at: 1, ended_at: null, progress: null, width: 1024, height: 1024, size: 0, content_type: null, url: null, ...fields,
});

function images() {
  /** @type {any[]} */
  const sent = [];
  const http = {
    absolute: (/** @type {string} */ path) => `https://chat.example/${path}`,
    send: async (/** @type {any[]} */ ...request) => {
      sent.push(request);
      return { image: info(request[1].endsWith("/again") ? { id: "i_2" } : {}) };
    },
  };
  const socket = {
    request: async (/** @type {any[]} */ ...request) => {
      sent.push(request);
      const { image, emoji } = request[1];
      return { image: info({ id: image, revision: 4, state: "posted", ended_at: 9, reactions: emoji ? [{ user: "ann", name: "Ann", emoji, at: 9 }] : [] }) };
    },
  };
  return { sent, images: new Images(/** @type {any} */ ({ http, socket, user: () => "ann" })) };
}

test("an image is one object from the request to the picture", async () => {
  const { sent, images: all } = images();
  const image = await all.ask("direct:ann:bob", "a lighthouse");
  assert.deepEqual(sent[0].slice(0, 2), ["POST", "threads/direct%3Aann%3Abob/images"]);
  assert.match(sent[0][2].key, /^[0-9a-f]{32}$/);
  const changes = [];
  image.on("change", ({ state, progress }) => changes.push([state, progress]));
  all.handle({ seq: 1, event: "image.running", image: info({ state: "running", revision: 2 }) });
  all.handle({ seq: 2, event: "image.progress", image: info({ revision: 2, state: "running", progress: 0.4 }) });
  all.handle({ seq: 3, event: "image.posted", image: info({ revision: 3, state: "posted", ended_at: 9, url: "v1/images/i_1/file?x" }) });
  assert.deepEqual(changes, [["running", null], ["running", 0.4], ["posted", null]]);
  assert.equal(image.url, "https://chat.example/v1/images/i_1/file?x");
  assert.ok(image.isOver && image.isOwn);
});

test("an answer that comes later than the event it is older than changes nothing", () => {
  const { images: all } = images();
  const image = all.take(info({ revision: 3, state: "posted", ended_at: 9, url: "v1/images/i_1/file" }));
  all.take(info({ state: "running", revision: 2 }));
  assert.equal(image.state, "posted");
});

test("again is another image, and each request has a key of its own", async () => {
  const { sent, images: all } = images();
  const image = await all.ask("t", "x");
  const again = await image.again();
  assert.equal(again.id, "i_2");
  assert.notEqual(sent[0][2].key, sent[1][2].key);
  await image.cancel();
  assert.deepEqual(sent[2].slice(0, 2), ["DELETE", "images/i_1"]);
});

test("a reaction is asked for over the socket, follows the server's word, and says which one is this user's", async () => {
  const { sent, images: all } = images();
  const image = all.take(info({ revision: 3, state: "posted", ended_at: 9 }));
  assert.deepEqual([image.reactions, image.reaction], [[], null]);
  await image.react("🎉");
  assert.deepEqual(sent[0], ["image.react", { image: "i_1", emoji: "🎉" }]);
  assert.equal(image.reaction, "🎉");
  const theirs = { user: "bob", name: "Bob", emoji: "👍", at: 10 };
  all.handle({ seq: 1, event: "image.unreacted", image: info({ revision: 5, state: "posted", ended_at: 9, reactions: [theirs] }) });
  assert.deepEqual([image.reactions, image.reaction], [[theirs], null]);
});

test("variations are asked for under a key each, until one is refused", async () => {
  /** @type {string[]} */
  const keys = [];
  let granted = 6;
  const http = {
    send: async (/** @type {string} */ _, /** @type {string} */ path, /** @type {any} */ { key, set }) => {
      keys.push(key);
      if (granted-- === 0) throw new RingbackError("rate_limited", "50 images in 24 h are the most for one person: try again later");
      return { image: info({ id: `i_${keys.length + 1}`, again_of: path.split("/")[1], set }) };
    },
  };
  const all = new Images(/** @type {any} */ ({ http, user: () => "ann" }));
  const image = all.take(info());
  const four = await image.variations(4);
  assert.deepEqual([four.images.map(({ id, againOf }) => [id, againOf]), four.refused], [[["i_2", "i_1"], ["i_3", "i_1"], ["i_4", "i_1"], ["i_5", "i_1"]], null]);
  const { images: two, refused } = await image.variations(4);
  assert.equal(two.length, 2);
  assert.deepEqual([four, { images: two }].map(({ images: those }) => new Set(those.map(({ set }) => set)).size), [1, 1]);
  assert.notEqual(two[0]?.set, four.images[0]?.set, "each time another set");
  assert.match(/** @type {Error} */ (refused).message, /most for one person/);
  assert.equal(new Set(keys).size, 7);
});

test("what was sent when the connection broke is sent again under its key, and what was refused under another", async () => {
  /** @type {any[]} */
  const keys = [];
  const codes = ["disconnected", "disconnected", "rate_limited", undefined];
  const http = {
    send: async (/** @type {string} */ _, /** @type {string} */ __, /** @type {any} */ { key }) => {
      keys.push(key);
      const code = codes.shift();
      if (code) throw new RingbackError(/** @type {any} */ (code), "no");
      return { image: info() };
    },
  };
  const all = new Images(/** @type {any} */ ({ http, user: () => "ann" }));
  for (let tried = 0; tried < 3; tried++) await assert.rejects(all.ask("t", "x"));
  await all.ask("t", "x");
  assert.deepEqual([keys[1], keys[2]], [keys[0], keys[0]]);
  assert.notEqual(keys[3], keys[0]);
});

test("variations that are asked for again after the connection broke belong to the same set", async () => {
  /** @type {any[]} */
  const sent = [];
  let breaks = 1;
  const http = {
    send: async (/** @type {string} */ _, /** @type {string} */ __, /** @type {any} */ body) => {
      sent.push(body);
      if (sent.length === 2 && breaks-- > 0) throw new RingbackError("disconnected", "no");
      return { image: info({ id: `i_${sent.length}`, set: body.set }) };
    },
  };
  const image = new Images(/** @type {any} */ ({ http, user: () => "ann" })).take(info({ id: "i_0" }));
  assert.equal((await image.variations(2)).images.length, 1);
  assert.equal((await image.variations(2)).refused, null);
  await image.variations(1);
  assert.equal(sent[3].key, sent[1].key);
  assert.deepEqual([sent[1].set, sent[2].set, sent[3].set].map((set) => set === sent[0].set), [true, true, true]);
  assert.notEqual(sent[4].set, sent[0].set);
});
