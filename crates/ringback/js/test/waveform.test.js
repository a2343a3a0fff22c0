// `node --test`: what the page draws of a note's peaks, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { heights } from "../../../../examples/web/waveform.js";

test("each bar is the mean of its stretch, and the tallest is as tall as can be", () => {
  const [left, right] = heights([100, 200, 0, 0], 2);
  assert.equal(left, 1);
  assert.ok(right !== undefined && right < 0.1);
});

test("more bars than peaks repeat them", () => {
  assert.deepEqual(heights([255, 0], 4), [1, 1, heights([0], 1)[0], heights([0], 1)[0]]);
});

test("a whisper is drawn taller than it is, but silence stays flat", () => {
  assert.ok((heights([60, 110, 60], 3)[1] ?? 0) > 0.9);
  const flat = heights([0, 0, 9, 0], 4);
  assert.ok(flat.every((bar) => bar < 0.15), String(flat));
  assert.equal(heights([], 5).length, 5);
});
