// What a client makes of ticks that are lost, late or repeated, and of hands that come in pieces.
import assert from "node:assert/strict";
import test from "node:test";
import { Reactions } from "../reactions.js";

/** A room without channels: everything goes over signaling, and is written down. */
function scene() {
  const sent = [];
  const socket = {
    request: (type, { room, message }) => {
      sent.push({ type, room, ...message });
      return Promise.resolve({});
    },
  };
  const reactions = new Reactions(socket, () => "hall");
  const floated = {};
  const named = [];
  reactions.on("reactions", ({ counts, by }) => {
    for (const { reaction, count } of counts) floated[reaction] = (floated[reaction] ?? 0) + count;
    named.push(...by.map(({ name, reaction, count }) => `${name} ${reaction} ${count}`));
  });
  return { reactions, sent, floated, named };
}

const tick = (n, counts, by = []) => ({ v: 1, type: "tick", n, counts, by, all: true });
const hands = (rev, people, type = "hands") => ({ v: 1, type, rev, mode: "all", who: "everyone", people, n: 0, can: { react: true, hand: true, host: false } });

test("a tick that was lost is made up for, and one that comes late or twice counts nothing", () => {
  const { reactions, floated, named } = scene();
  const first = tick(1, [["👍", 2, 0]], [[1, "a", "Ann", "👍", 2]]);
  const third = tick(3, [["👍", 5, 0], ["🎉", 1, 0]], [[3, "b", "Bob", "🎉", 1], [2, "b", "Bob", "👍", 3], [1, "a", "Ann", "👍", 2]]);
  reactions.receive(first);
  reactions.receive(third);
  reactions.receive(tick(2, [["👍", 5, 0]], [[2, "b", "Bob", "👍", 3]]));
  reactions.receive(third);
  assert.deepEqual(floated, { "👍": 5, "🎉": 1 });
  assert.deepEqual(named, ["Ann 👍 2", "Bob 🎉 1", "Bob 👍 3"]);
});

test("who comes late is not shown everything that ever was", () => {
  const { reactions, floated } = scene();
  reactions.receive(tick(90, [["👍", 1001, 1000]]));
  assert.deepEqual(floated, { "👍": 1 });
});

test("hands stand in the server's order, and a gap asks for a snapshot", () => {
  const { reactions, sent } = scene();
  const names = () => reactions.hands.map(({ name }) => name).join();
  reactions.receive(hands(4, [{ p: "b", name: "Bob", hand: 7 }], "snapshot"));
  reactions.receive(hands(4, [{ p: "a", name: "Ann", hand: 3 }]));
  assert.equal(names(), "Ann,Bob");
  reactions.receive(hands(5, [{ p: "a" }, { p: "c", name: "Cleo", hand: 9, status: "brb" }]));
  assert.equal(names(), "Bob,Cleo");
  assert.equal(reactions.statuses.get("c")?.status, "brb");
  reactions.receive(hands(3, [{ p: "b" }]));
  assert.equal(names(), "Bob,Cleo", "an old text");
  reactions.receive(hands(7, [{ p: "b" }]));
  assert.equal(names(), "Bob,Cleo", "a text whose predecessor is missing");
  assert.deepEqual(sent, [{ type: "reaction.send", room: "hall", v: 1, type: "sync" }]);
  reactions.receive(hands(7, [{ p: "c", name: "Cleo", hand: 9 }], "snapshot"));
  assert.equal(names(), "Cleo");
  reactions.close();
});
