// `node --test`: when a voice is sent twice, and how the browser is told.
import assert from "node:assert/strict";
import test from "node:test";
import { Redundancy, withRedundancy } from "../redundancy.js";

test("a voice is sent twice while anybody loses enough of it, and no longer", () => {
  const redundancy = new Redundancy();
  assert.equal(redundancy.told("ann", 19), false);
  assert.equal(redundancy.told("bob", 20), true);
  assert.equal(redundancy.told("ann", 0), true);
  assert.equal(redundancy.told("bob", 10), true, "it does not flutter");
  assert.equal(redundancy.told("bob", 9), false);
  redundancy.told("cid", 100);
  assert.equal(redundancy.left("cid"), false);
});

test("in a room too large to be told of each a voice is sent twice while anybody loses enough, and while we do", () => {
  const redundancy = new Redundancy();
  redundancy.told("ann", 100);
  assert.equal(redundancy.toldOfAll(true, "me"), true);
  assert.equal(redundancy.told("me", 0), true);
  assert.equal(redundancy.toldOfAll(false, "me"), false, "what was told of Ann before is old");
  assert.equal(redundancy.told("me", 30), true);
  assert.equal(redundancy.toldOfAll(false, "me"), true);
  assert.equal(redundancy.told("me", 0), false);
});

const line = (/** @type {string} */ types, /** @type {string} */ mid) =>
  `m=audio 9 UDP/TLS/RTP/SAVPF ${types}\r\na=mid:${mid}\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2\r\n`;

test("redundancy goes first on the line of the voice and on no other", () => {
  const answer = `v=0\r\n${line("111 63", "0")}${line("111 63", "1")}`;
  assert.equal(withRedundancy(answer, "1"), `v=0\r\n${line("111 63", "0")}${line("63 111", "1")}`);
  assert.equal(withRedundancy(withRedundancy(answer, "1"), "1"), withRedundancy(answer, "1"));
});

test("where redundancy was not agreed on nothing changes", () => {
  const answer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n";
  assert.equal(withRedundancy(answer, "0"), answer);
});
