// `node --test`: which layers are sent, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { setLayers } from "../sent-layers.js";

/** @param {(RTCRtpEncodingParameters & {scalabilityMode?: string})[]} encodings */
function sender(encodings) {
  let writes = 0;
  return {
    track: /** @type {any} */ ({ getSettings: () => ({ width: 1280, height: 720 }) }),
    encoding: () => encodings[0],
    getParameters: () => /** @type {any} */ ({ encodings: encodings.map((encoding) => ({ ...encoding })) }),
    /** @param {any} parameters */
    setParameters: async (parameters) => {
      writes++;
      encodings = parameters.encodings;
    },
    active: () => encodings.filter((encoding) => encoding.active).map((encoding) => encoding.rid),
    writes: () => writes,
  };
}

test("what nobody wants is left out and comes back", async () => {
  const camera = sender(["q", "h", "f"].map((rid) => ({ rid, active: true })));
  await setLayers(camera, ["q"]);
  assert.deepEqual(camera.active(), ["q"]);
  await setLayers(camera, ["q", "f"]);
  assert.deepEqual(camera.active(), ["q", "f"]);
});

test("nothing is written when nothing changes", async () => {
  const camera = sender([{ rid: "q", active: true }]);
  await setLayers(camera, ["q", "x"]);
  assert.equal(camera.writes(), 0);
});

test("a stream without layers is never switched off", async () => {
  const screen = sender([{ active: true }]);
  await setLayers(screen, []);
  assert.deepEqual(screen.active(), [undefined]);
});

test("of a stream of all sizes the larger ones are left out, and the smaller ones stay as large as they were", async () => {
  const camera = sender([{ active: true, scalabilityMode: "L3T3_KEY" }]);
  await setLayers(camera, [], { wanted: 1, of: 3 });
  assert.deepEqual(camera.encoding(), { active: true, scalabilityMode: "L1T3", scaleResolutionDownBy: 4, maxBitrate: 142_160 });
  await setLayers(camera, [], { wanted: 2, of: 3 });
  assert.deepEqual(camera.encoding(), { active: true, scalabilityMode: "L2T3_KEY", scaleResolutionDownBy: 2, maxBitrate: 560_800 });
  await setLayers(camera, [], { wanted: 3, of: 3 });
  assert.deepEqual(camera.encoding(), { active: true, scalabilityMode: "L3T3_KEY" });
  assert.equal(camera.writes(), 3);
  await setLayers(camera, [], { wanted: 3, of: 3 });
  assert.equal(camera.writes(), 3, "nothing new");
});

test("a stream that has fewer sizes than its mode says is left those that it has", async () => {
  const camera = sender([{ active: true, scalabilityMode: "L3T3", maxBitrate: 500_000, scaleResolutionDownBy: 1 }]);
  await setLayers(camera, [], { wanted: 1, of: 2 });
  const encoding = { active: true, scalabilityMode: "L2T3", scaleResolutionDownBy: 2, maxBitrate: 500_000 };
  assert.deepEqual(camera.encoding(), encoding);
  await setLayers(camera, [], { wanted: 2, of: 2 });
  assert.deepEqual(camera.encoding(), { active: true, scalabilityMode: "L3T3", maxBitrate: 500_000, scaleResolutionDownBy: 1 });
});

test("sizes that lie closer together stay where they are", async () => {
  const camera = sender([{ active: true, scalabilityMode: "L2T3h" }]);
  await setLayers(camera, [], { wanted: 1, of: 2 });
  assert.equal(camera.encoding()?.scalabilityMode, "L1T3");
  assert.equal(camera.encoding()?.scaleResolutionDownBy, 1.5);
});

test("where it is not known how a stream is made up nothing is left out of it", async () => {
  const camera = sender([{ active: true }]);
  await setLayers(camera, [], { wanted: 1, of: 2 });
  assert.equal(camera.writes(), 0);
});
