// `node --test`: which simulcast layers are sent, without a browser.
import assert from "node:assert/strict";
import test from "node:test";
import { setLayers } from "../connection.js";

/** @param {RTCRtpEncodingParameters[]} encodings */
function sender(encodings) {
  let writes = 0;
  return {
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
