// `node --test`: what a slot shows, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { Slot, rtpReached } from "../slots.js";

const ANN = { participant: "ann", source: "camera" };
const BOB = { participant: "bob", source: "camera" };

function videoSlot() {
  return new Slot({ mid: "4", kind: "video", pair: 0 });
}

/** @param {Partial<import("../protocol.js").SlotMapping>} mapping */
function mapping(mapping) {
  return { mid: "4", participant: null, source: null, epoch: 1, rtp_timestamp: null, reason: null, ...mapping };
}

test("timestamps are compared around their wrap", () => {
  assert.ok(rtpReached(5, 5));
  assert.ok(rtpReached(5, 0xffff_fff0));
  assert.ok(!rtpReached(0xffff_fff0, 5));
});

test("a picture is named only when the announced frame is on the screen", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...ANN, rtp_timestamp: 9_000 }), 0);
  assert.equal(slot.shown, null);
  assert.ok(!slot.frame(8_999, 0));
  assert.equal(slot.shown, null);
  assert.ok(slot.frame(9_000, 0));
  assert.deepEqual(slot.shown, ANN);
});

test("a picture is blank between two names", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...ANN, rtp_timestamp: 0 }), 0);
  slot.frame(0, 0);
  slot.map(mapping({ ...BOB, epoch: 2, rtp_timestamp: 90_000 }), 0);
  assert.equal(slot.shown, null);
  slot.frame(89_000, 0);
  assert.equal(slot.shown, null);
  slot.frame(90_000, 0);
  assert.deepEqual(slot.shown, BOB);
});

test("of two changes before the first frame the later counts", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...ANN, epoch: 1, rtp_timestamp: 100 }), 0);
  slot.map(mapping({ ...BOB, epoch: 2, rtp_timestamp: 200 }), 0);
  slot.frame(150, 0);
  assert.equal(slot.shown, null);
  slot.frame(200, 0);
  assert.deepEqual(slot.shown, BOB);
});

test("a mapping older than the last is not taken", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...BOB, epoch: 7, rtp_timestamp: 0 }), 0);
  assert.ok(!slot.map(mapping({ ...ANN, epoch: 6, rtp_timestamp: 0 }), 0));
  assert.deepEqual(slot.mapped, BOB);
});

test("a muted picture is blank but keeps its owner", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...ANN, rtp_timestamp: 0 }), 0);
  slot.frame(0, 0);
  slot.map(mapping({ ...ANN, epoch: 2, reason: "muted" }), 0);
  assert.equal(slot.shown, null);
  assert.ok(!slot.frame(3_000, 0));
  assert.deepEqual(slot.owner, ANN);
});

test("without a timestamp a frame that may be the predecessor's names nobody", () => {
  const slot = videoSlot();
  slot.map(mapping({ ...ANN }), 0);
  assert.ok(slot.frame(undefined, 0), "the first in a slot cannot be mistaken");
  slot.map(mapping({ ...BOB, epoch: 2 }), 0);
  assert.ok(!slot.frame(undefined, 500));
  assert.ok(slot.frame(undefined, 1_000));
  assert.deepEqual(slot.shown, BOB);
});

test("sound needs no frame", () => {
  const slot = new Slot({ mid: "3", kind: "audio", pair: 0 });
  slot.map(mapping({ mid: "3", participant: "ann", source: "microphone" }), 0);
  assert.deepEqual(slot.shown, { participant: "ann", source: "microphone" });
});
