// $SYS on 1, 2 and 4 shards: what the gateway publishes reaches subscribers of all shards, now and later; clients cannot publish there.
import t from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { clientIdOn, TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

const VERSION = { topic: "$SYS/broker/version", payload: "penstock version 1" };

function refused(gateway: TestGateway): number {
  return gateway.counters.reduce((sum, counters) => sum + counters[SHARD_COUNTER.REFUSED_SYSTEM_TOPIC]!, 0);
}

onShards("what a shard publishes of its own reaches subscribers and, retained, later ones of all shards, and neither journal nor lanes", (t, gateway, { a, b }) => {
  const [first, second] = [gateway.connect(a), gateway.connect(b)];
  first.send(subscribe("$SYS/#"));
  second.send(subscribe("$SYS/broker/+"));
  t.equal(gateway.shards[0]!.publish([VERSION, { topic: "$SYS/broker/uptime", payload: "5 seconds" }]), true);
  gateway.run();
  t.same(first.payloads(), ["penstock version 1", "5 seconds"]);
  t.same(second.payloads(), ["penstock version 1", "5 seconds"]);
  for (const client of [first, second]) {
    client.send(subscribe("$SYS/broker/version"));
    t.match(client.drain("publish"), [{ topic: VERSION.topic, payload: Buffer.from(VERSION.payload), retain: true, qos: 0 }]);
  }
  t.same(gateway.journal, []);
  t.ok(gateway.lanes.every((lane) => !lane.next()), "no lane was asked");
});

onShards("another shard goes on where one stopped: its values are the later ones", (t, gateway, { b }) => {
  const last = gateway.shards.length - 1;
  gateway.shards[0]!.publish([VERSION]);
  gateway.run();
  gateway.shards[last]!.publish([{ ...VERSION, payload: "newer" }]);
  gateway.run();
  const client = gateway.connect(b);
  client.send(subscribe("$SYS/#"));
  t.same(client.payloads(), ["newer"]);
});

onShards("neither # nor +/broker/version matches $SYS, live or retained [MQTT-4.7.2-1]", (t, gateway, { a }) => {
  gateway.shards[0]!.publish([VERSION]);
  gateway.run();
  const client = gateway.connect(a);
  client.send(subscribe("#"), subscribe("+/broker/version"));
  gateway.shards[0]!.publish([VERSION]);
  gateway.run();
  t.same(client.payloads(), []);
});

onShards("clients' PUBLISHes to $SYS reach nobody: MQTT 5 hears Not authorized, 3.1.1 an ordinary acknowledgement [MQTT3-3.3.5-2]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("$SYS/#", 2));
  const four = gateway.connect(b);
  const five = gateway.connect(`${b}-five`, { protocolVersion: 5 });
  for (const client of [four, five]) {
    client.send(
      publish("$SYS/broker/version", "mine", 0, { retain: true }), publish("$SYS", "mine", 1, { messageId: 2 }), publish("$SYS/x", "mine", 2, { messageId: 3 }),
    );
    t.equal(client.closeReason, null);
  }
  gateway.commit();
  t.match(five.drain("puback"), [{ messageId: 2, reasonCode: 0x87 }]);
  t.match(five.drain("pubrec"), [{ messageId: 3, reasonCode: 0x87 }]);
  t.match(four.drain("puback"), [{ messageId: 2 }]);
  t.match(four.drain("pubrec"), [{ messageId: 3 }]);
  four.send({ cmd: "pubrel", messageId: 3 });
  t.match(four.drain("pubcomp"), [{ messageId: 3 }], "the flow ends");
  subscriber.send(subscribe("$SYS/broker/version"));
  t.same(subscriber.payloads(), []);
  t.same(gateway.journal, []);
  t.equal(refused(gateway), 6);
});

onShards("a refusal does not overtake acknowledgements of what came before [MQTT-4.6.0-2]", (t, gateway, { b }) => {
  gateway.isStoreFast = false;
  const client = gateway.connect(b, { protocolVersion: 5 });
  client.send(publish("x", "1", 1, { messageId: 1 }), publish("$SYS/x", "2", 1, { messageId: 2 }));
  t.same(client.drain("puback"), []);
  gateway.commit();
  t.match(client.drain("puback"), [{ messageId: 1, reasonCode: 0 }, { messageId: 2, reasonCode: 0x87 }]);
});

onShards("a will on $SYS is not sent, and what a mosquitto bridge tells of itself is", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("$SYS/#"));
  const bad = gateway.connect(b, { will: { topic: "$SYS/broker/version", payload: Buffer.from("mine"), qos: 0, retain: true } });
  t.match(bad.drain("connack"), [{ returnCode: 0 }]);
  bad.cut();
  t.same(subscriber.payloads(), []);
  t.equal(refused(gateway), 1);
  const topic = "$SYS/broker/connection/edge.7/state";
  const bridge = gateway.connect(b, { will: { topic, payload: Buffer.from("0"), qos: 0, retain: true } });
  bridge.send(publish(topic, "1", 0, { retain: true }));
  bridge.cut();
  t.same(subscriber.payloads(), ["1", "0"]);
  t.equal(refused(gateway), 1);
});

t.test("a shard that does not serve yet says so, and takes it later", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  gateway.kill(1);
  gateway.run();
  gateway.revive(1);
  t.equal(gateway.shards[1]!.publish([VERSION]), false);
  gateway.run();
  gateway.enliven(1);
  gateway.run();
  t.equal(gateway.shards[1]!.publish([VERSION]), true);
  gateway.run();
  const client = gateway.connect(clientIdOn(0, 2, "late"));
  client.send(subscribe("$SYS/#"));
  t.same(client.payloads(), [VERSION.payload]);
  t.end();
});

onShards("packets, payload bytes and expired sessions are counted", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { clean: false });
  subscriber.send(subscribe("x/#", 1));
  const publisher = gateway.connect(b);
  const sum = (counter: number): number => gateway.counters.reduce((total, counters) => total + counters[counter]!, 0);
  const before = sum(SHARD_COUNTER.PACKETS_OUT);
  publisher.send(publish("x/1", "12345", 0), publish("x/2", "123", 1));
  gateway.commit();
  t.equal(sum(SHARD_COUNTER.PACKETS_OUT) - before, 3, "two deliveries and a PUBACK");
  t.equal(sum(SHARD_COUNTER.PAYLOAD_BYTES_IN), 8);
  t.equal(sum(SHARD_COUNTER.PAYLOAD_BYTES_OUT), 8);
  subscriber.send({ cmd: "disconnect" });
  t.equal(subscriber.closeReason, CLOSE_REASON.DISCONNECTED);
  gateway.advance(8 * 24 * 3600 * 1000);
  t.equal(sum(SHARD_COUNTER.SESSIONS_EXPIRED), 1);
});
