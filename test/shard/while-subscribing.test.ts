// Messages of another shard that are published while a client subscribes: which of them it gets after a crash. They stand in the journal behind the
// SUBSCRIBE, but that shard had not heard of it: nobody got them, and those that came next must not be followed by them.
import t, { type Test } from "tap";
import { clientIdOn, type TestClient, TestGateway } from "./harness.js";
import { ack, publish, subscribe } from "./support.js";

const KEPT = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000 } };

const PUBLISHER = clientIdOn(0, 2, "publisher");
const SUBSCRIBER = clientIdOn(1, 2, "subscriber");

/** A publisher and a subscriber on different shards; `filter` is subscribed while shard 0 does not know it yet and publishes "before", on disk behind it. */
class Crossing {
  gateway = new TestGateway({ shards: 2 });
  readonly publisher: TestClient;
  subscriber: TestClient;

  constructor(t: Test, qos: 1 | 2, earlier: string | null = null) {
    t.teardown(() => this.gateway.stop());
    this.subscriber = this.gateway.connect(SUBSCRIBER, KEPT);
    this.publisher = this.gateway.connect(PUBLISHER, KEPT);
    if (earlier !== null) this.subscriber.send(subscribe(earlier, 1));
    this.gateway.put(this.publisher, publish("t/1", "before", qos, { messageId: 1 }));
    this.gateway.turn(0);
    this.gateway.put(this.subscriber, { ...subscribe("t/#", 1), messageId: 9 });
    this.gateway.turn(1);
    this.gateway.commitShard(1);
    this.gateway.commitShard(0);
  }

  publish(text: string, qos: 1 | 2, messageId: number): void {
    this.publisher.send(publish("t/1", text, qos, { messageId }));
  }

  die(): void {
    this.gateway.stop();
    this.gateway = new TestGateway({ shards: 2, disk: this.gateway.disk, now: this.gateway.clock.now });
  }

  back(t: Test): void {
    this.subscriber = this.gateway.connect(SUBSCRIBER, KEPT);
    t.match(this.subscriber.drain("connack"), [{ sessionPresent: true }]);
  }
}

for (const qos of [1, 2] as const) {
  void t.test(`QoS ${String(qos)}: what the other shard published before it knew does not come behind what it published then`, (t) => {
    for (const dies of ["gateway", "shard"] as const) {
      const crossing = new Crossing(t, qos);
      crossing.gateway.run();
      t.same(crossing.subscriber.drain("suback").length, 1);
      crossing.publish("after", qos, 2);
      t.same(crossing.subscriber.payloads(), ["after"], "live");
      if (dies === "gateway") crossing.die();
      else {
        crossing.gateway.kill(1);
        crossing.gateway.restart(1);
      }
      crossing.back(t);
      t.same(crossing.subscriber.payloads(), ["after"], `after the ${dies}'s death`);
      crossing.gateway.stop();
    }
    t.end();
  });

  void t.test(`QoS ${String(qos)}: what an earlier subscription matches comes, live and after a crash`, (t) => {
    const crossing = new Crossing(t, qos, "t/1");
    crossing.gateway.run();
    crossing.publish("after", qos, 2);
    t.same(crossing.subscriber.payloads(), ["before", "after"], "live");
    crossing.die();
    crossing.back(t);
    t.same(crossing.subscriber.payloads(), ["before", "after"], "after the gateway's death");
    t.end();
  });
}

void t.test("a crash before SUBACK: the subscription is there, what was published from then on comes, after another crash too", (t) => {
  const crossing = new Crossing(t, 1);
  crossing.die();
  crossing.back(t);
  t.same(crossing.subscriber.payloads(), [], "nothing is due without a SUBACK");
  crossing.gateway.connect("p2").send(publish("t/1", "then", 1));
  t.same(crossing.subscriber.payloads(), ["then"]);
  crossing.die();
  crossing.back(t);
  t.same(crossing.subscriber.payloads(), ["then"]);
  t.end();
});

void t.test("a crash before SUBACK: what the client's own shard took behind the SUBSCRIBE was for it", (t) => {
  const crossing = new Crossing(t, 1);
  crossing.gateway.put(crossing.subscriber, publish("t/own", "own", 1, { messageId: 3 }));
  crossing.gateway.turn(1);
  crossing.gateway.commitShard(1);
  crossing.die();
  crossing.back(t);
  t.same(crossing.subscriber.payloads(), ["own"]);
  t.end();
});

void t.test("a subscription that ended and began anew meanwhile is heard of anew", (t) => {
  const crossing = new Crossing(t, 1);
  const { gateway, subscriber } = crossing;
  gateway.run();
  subscriber.drain("suback");
  subscriber.send({ cmd: "unsubscribe", messageId: 10, unsubscriptions: ["t/#"] } as never);
  crossing.publish("between", 1, 2);
  subscriber.send({ ...subscribe("t/#", 1), messageId: 11 });
  crossing.publish("after", 1, 3);
  t.same(subscriber.payloads(), ["after"], "live");
  crossing.die();
  crossing.back(t);
  t.same(crossing.subscriber.payloads(), ["after"]);
  t.end();
});

void t.test("a group of a shared subscription gets nothing from before its shard was known to want it", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  const owned = ["x", "y", "z", "w", "v"].find((name) => gateway.shardOf(`\0$share/${name}/t/#`) === 1)!;
  const member = gateway.connect(SUBSCRIBER, KEPT);
  const publisher = gateway.connect(PUBLISHER, KEPT);
  gateway.put(publisher, publish("t/1", "before", 2, { messageId: 1 }));
  gateway.turn(0);
  gateway.put(member, subscribe(`$share/${owned}/t/#`, 1));
  gateway.turn(1);
  gateway.commitShard(1);
  gateway.commitShard(0);
  gateway.run();
  publisher.send(publish("t/1", "after", 2, { messageId: 2 }));
  const [got] = member.drain("publish") as { messageId: number; payload: Buffer }[];
  t.equal(got?.payload.toString(), "after");
  gateway.stop();
  const next = new TestGateway({ shards: 2, disk: gateway.disk, now: gateway.clock.now });
  t.teardown(() => next.stop());
  const again = next.connect(SUBSCRIBER, KEPT);
  t.same(again.payloads(), ["after"]);
  again.send(ack("puback", 1));
  t.same(again.payloads(), []);
  t.end();
});
