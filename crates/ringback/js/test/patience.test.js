// `node --test`: how long pictures wait.
import assert from "node:assert/strict";
import test from "node:test";
import { patience } from "../patience.js";
import { SlotBoard } from "../slots.js";

test("pictures of who loses little are shown as they come", () => {
  assert.equal(patience(50, 49), 0);
});

test("pictures of who loses much wait for two rounds of asking, within limits", () => {
  assert.equal(patience(50, 100), 200);
  assert.equal(patience(500, 100), 400);
});

test("a slot's receiver waits as long as whoever is shown in it needs, and no sound does", () => {
  const board = new SlotBoard();
  const [picture, sound] = [{ jitterBufferTarget: null }, { jitterBufferTarget: null }];
  const slots = new Map([["4", { kind: "video", receiver: picture }], ["5", { kind: "audio", receiver: sound }]]);
  for (const [mid, { kind, receiver }] of slots) {
    const owner = { participant: "ann", source: kind === "video" ? "camera" : "microphone" };
    board.slots.set(mid, /** @type {any} */ ({ mid, kind, receiver, owner, map: () => false }));
  }
  board.hold("ann", 200);
  assert.deepEqual([picture.jitterBufferTarget, sound.jitterBufferTarget], [200, null]);
  board.hold("bob", 100);
  assert.equal(picture.jitterBufferTarget, 200);

  const slot = /** @type {any} */ (board.slots.get("4"));
  slot.owner = { participant: "bob", source: "camera" };
  board.map([/** @type {any} */ ({ mid: "4" })]);
  assert.equal(picture.jitterBufferTarget, 100);
  board.hold("bob", 0);
  assert.equal(picture.jitterBufferTarget, null);
  board.holdAll(150);
  assert.deepEqual([picture.jitterBufferTarget, sound.jitterBufferTarget], [150, null]);
});
