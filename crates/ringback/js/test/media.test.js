// `node --test`: opening and closing the microphone, with a browser that takes its time.
import assert from "node:assert/strict";
import test from "node:test";
import { LocalMedia } from "../media.js";

test("a microphone that is wanted again while an opening was called off opens all the same", async () => {
  /** @type {((stream: any) => void)[]} */
  const asked = [];
  const makeStream = () => {
    const track = Object.assign(new EventTarget(), { readyState: "live", stop: () => (track.readyState = "ended") });
    return { getTracks: () => [track] };
  };
  Object.assign(globalThis, { isSecureContext: true });
  Object.defineProperty(globalThis, "navigator", {
    configurable: true,
    value: { mediaDevices: { addEventListener: () => {}, getUserMedia: () => new Promise((resolve) => asked.push(resolve)) } },
  });
  const media = new LocalMedia();
  const first = media.open("microphone");
  assert.equal(media.open("microphone"), first, "one at a time");
  media.close("microphone");
  const second = media.open("microphone");
  const [one, two] = [makeStream(), makeStream()];
  asked[0]?.(one);
  asked[1]?.(two);
  await assert.rejects(first, { code: "closed" });
  assert.equal(one.getTracks()[0]?.readyState, "ended");
  assert.equal(await second, two.getTracks()[0]);
  assert.equal(media.tracks.microphone, two.getTracks()[0]);
});
