// `node --test`: how long pictures wait.
import assert from "node:assert/strict";
import test from "node:test";
import { LossRepair } from "../loss-repair.js";
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

test("whoever has left holds up no picture and takes no room", () => {
  const board = new SlotBoard();
  const receiver = { jitterBufferTarget: null };
  const slot = { mid: "4", kind: "video", receiver, owner: { participant: "ann", source: "camera" }, map: () => false };
  board.slots.set("4", /** @type {any} */ (slot));
  const repair = new LossRepair(board, () => {});
  repair.theirs("ann", { round_trip_ms: 50, loss_up: 100, loss_down: 0 });
  assert.equal(receiver.jitterBufferTarget, 200);
  repair.left("ann");
  assert.equal(receiver.jitterBufferTarget, null);
});
