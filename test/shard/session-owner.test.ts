// Whose a session is: another user that presents its client id gets neither it nor what waits in it. On 1, 2 and 4 shards.
import t from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import type { Identity } from "../../src/base/identity.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { clientIdOn, TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

const ALICE: Identity = { user: "alice", groups: [] };
const BOB: Identity = { user: "bob", groups: [] };
const KEPT = { clean: false, properties: { sessionExpiryInterval: 1000 }, protocolVersion: 5 };

onShards("a session that waits is its user's: others are refused, whatever they ask for", (t, gateway, { a, b }) => {
  const alice = gateway.connectAs(ALICE, b, KEPT);
  alice.send(subscribe("secret", 1));
  gateway.commit();
  alice.cut();
  const sender = gateway.connect(a);
  sender.send(publish("secret", "for alice", 1));
  gateway.commit();

  for (const clean of [false, true]) {
    const five = gateway.connectAs(BOB, b, { ...KEPT, clean });
    t.match(five.drain("connack"), [{ reasonCode: 0x85 }]);
    t.same(five.payloads(), []);
    const three = gateway.connectAs(BOB, b, { clean });
    t.match(three.drain("connack"), [{ returnCode: 2 }], "3.1.1: identifier rejected");
    t.match(gateway.connect(b, { clean }).drain("connack"), [{ returnCode: 2 }], "nor is it for who is nobody");
  }
  t.equal(gateway.counted(SHARD_COUNTER.REFUSED_SESSION_OWNER), 6);
  t.ok(gateway.logged.some((line) => /the client id is another user's/.test(line)));

  const back = gateway.connectAs(ALICE, b, KEPT);
  t.match(back.drain("connack"), [{ reasonCode: 0, sessionPresent: true }]);
  t.same(back.payloads(), ["for alice"]);
  const again = gateway.connectAs({ user: "alice", groups: ["others now"] }, b, KEPT);
  t.match(again.drain("connack"), [{ reasonCode: 0, sessionPresent: true }], "groups do not matter");
  t.equal(back.closeReason, CLOSE_REASON.TAKEN_OVER);
});

onShards("nobody ends the connection of another user by presenting its client id", (t, gateway, { a }) => {
  const alice = gateway.connectAs(ALICE, a);
  t.match(gateway.connectAs(BOB, a).drain("connack"), [{ returnCode: 2 }]);
  t.equal(alice.closeReason, null);
  t.equal(gateway.counted(SHARD_COUNTER.TAKE_OVERS), 0);
  alice.cut();
  t.match(gateway.connectAs(BOB, a).drain("connack"), [{ returnCode: 0 }], "a session that ended with its connection is nobody's");
});

onShards("a session of nobody is anybody's, and belongs to who took it up", (t, gateway, { a }) => {
  gateway.connect(a, KEPT).cut();
  t.match(gateway.connect(a, KEPT).drain("connack"), [{ reasonCode: 0, sessionPresent: true }]);
  const alice = gateway.connectAs(ALICE, a, KEPT);
  t.match(alice.drain("connack"), [{ reasonCode: 0, sessionPresent: true }]);
  t.match(gateway.connect(a, KEPT).drain("connack"), [{ reasonCode: 0x85 }]);
  t.equal(alice.closeReason, null);
});

onShards("mqtt.session_takeover: anyone lets whoever presents the client id have it", (t, gateway, { a }) => {
  const alice = gateway.connectAs(ALICE, a, KEPT);
  t.match(gateway.connectAs(BOB, a, KEPT).drain("connack"), [{ reasonCode: 0, sessionPresent: true }]);
  t.equal(alice.closeReason, CLOSE_REASON.TAKEN_OVER);
  t.equal(gateway.counted(SHARD_COUNTER.REFUSED_SESSION_OWNER), 0);
}, { limits: { isSessionAnybodys: true } });

for (const shards of [1, 2, 4]) {
  for (const isTrimmed of [false, true]) {
    void t.test(`the owner is known after a restart, ${isTrimmed ? "from a checkpoint" : "from its CONNECT"} (${shards} shards)`, async (t) => {
      const first = new TestGateway({ shards });
      const id = clientIdOn(shards - 1, shards, "owned");
      const alice = first.connectAs(ALICE, id, KEPT);
      alice.send(subscribe("secret", 1));
      first.commit();
      alice.cut();
      first.commit();
      if (isTrimmed) {
        first.checkpoint();
        first.commit();
        first.trim();
      }
      first.stop();
      const second = new TestGateway({ shards: shards === 4 ? 2 : shards, disk: first.disk, now: first.clock.now });
      t.teardown(() => second.stop());
      t.match(second.connectAs(BOB, id, KEPT).drain("connack"), [{ reasonCode: 0x85 }]);
      t.match(second.connectAs(ALICE, id, KEPT).drain("connack"), [{ reasonCode: 0, sessionPresent: true }]);
    });
  }
}
