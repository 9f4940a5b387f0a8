// What a listener allows its clients, announced and enforced with the standard's reason codes; two listeners side by side; 1, 2 and 4 shards.
import mqttPacket from "mqtt-packet";
import { DEFAULT_SHARD_LIMITS } from "../../src/base/limits.js";
import type { ListenerLimits, ShardStart } from "../../src/base/messages.js";
import type { TestClient, TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

const WIDE = 0;
const NARROW = 1;

function listeners(narrow: Partial<ListenerLimits>): { readonly listeners: ShardStart["listeners"] } {
  const common = { isTls: false, protocol: "mqtt", identity: "none" } as const;
  return { listeners: [{ name: "wide", ...common }, { name: "narrow", ...common, limits: { ...DEFAULT_SHARD_LIMITS, ...narrow } }, { name: "narrow", ...common, limits: { ...DEFAULT_SHARD_LIMITS, ...narrow } }] };
}

function connectBy(gateway: TestGateway, listener: number, clientId: string, version: 4 | 5, more: Record<string, unknown> = {}): TestClient {
  const client = gateway.open(gateway.shardOf(clientId), version, { listener });
  client.send({ cmd: "connect", protocolId: "MQTT", clean: true, keepalive: 60, clientId, ...more, protocolVersion: version });
  return client;
}

onShards("protocol_versions: others are refused, 0x84 for MQTT 5 and return code 1 for 3.1.1", (t, gateway, { a, b }) => {
  t.match(connectBy(gateway, NARROW, a, 4).drain("connack"), [{ returnCode: 1 }]);
  t.match(connectBy(gateway, NARROW, a, 5).drain("connack"), [{ reasonCode: 0 }]);
  t.match(connectBy(gateway, WIDE, b, 4).drain("connack"), [{ returnCode: 0 }]);
}, listeners({ protocolVersions: [5] }));

onShards("protocol_versions: only 3.1.1", (t, gateway, { a }) => {
  t.match(connectBy(gateway, NARROW, a, 5).drain("connack"), [{ reasonCode: 0x84 }]);
  t.match(connectBy(gateway, NARROW, a, 4).drain("connack"), [{ returnCode: 0 }]);
}, listeners({ protocolVersions: [4] }));

onShards("maximum_qos is announced; a PUBLISH above it disconnects with 0x9B, a will above it refuses CONNECT, a SUBSCRIBE gets less [MQTT-3.2.2-10] [MQTT-3.2.2-11] [MQTT-3.2.2-12]", (t, gateway, { a, b }) => {
  const five = connectBy(gateway, NARROW, a, 5);
  t.match(five.drain("connack"), [{ reasonCode: 0, properties: { maximumQoS: 1 } }]);
  five.send(subscribe("t", 2));
  t.match(five.drain("suback"), [{ granted: [1] }]);
  const wide = connectBy(gateway, WIDE, b, 5);
  t.notOk((wide.drain("connack")[0] as { properties?: Record<string, unknown> }).properties?.["maximumQoS"]);
  wide.send(publish("t", "from 2 to 1", 2));
  t.match(five.drain("publish"), [{ qos: 1 }]);
  five.send(publish("t", "allowed", 1));
  t.match(five.drain("puback"), [{ reasonCode: 0 }]);
  five.send(publish("t", "too high", 2));
  t.match(five.drain("disconnect"), [{ reasonCode: 0x9b }]);
  t.not(five.closeReason, null);
  const four = connectBy(gateway, NARROW, `${b}4`, 4);
  four.send(publish("t", "too high", 2));
  t.not(four.closeReason, null, "3.1.1 has no word for it");
  t.match(connectBy(gateway, NARROW, `${a}w`, 5, { will: { topic: "t", payload: Buffer.from("w"), qos: 2, retain: false } }).drain("connack"), [{ reasonCode: 0x9b }]);
  t.same(connectBy(gateway, NARROW, `${a}w`, 4, { will: { topic: "t", payload: Buffer.from("w"), qos: 2, retain: false } }).drain("connack"), [], "3.1.1 has no word for it");
}, listeners({ maximumQos: 1 }));

onShards("retain_available false is announced; a retained PUBLISH disconnects with 0x9A, a retained will refuses CONNECT, subscriptions get none [MQTT-3.2.2-13] [MQTT-3.2.2-14]", (t, gateway, { a, b }) => {
  connectBy(gateway, WIDE, b, 5).send(publish("t/1", "kept", 0, { retain: true }));
  const five = connectBy(gateway, NARROW, a, 5);
  t.match(five.drain("connack"), [{ properties: { retainAvailable: false } }]);
  five.send(subscribe("#"));
  t.same(five.payloads(), []);
  five.send(publish("t/1", "gone?", 0, { retain: true }));
  t.match(five.drain("disconnect"), [{ reasonCode: 0x9a }]);
  t.match(connectBy(gateway, NARROW, `${a}w`, 5, { will: { topic: "t/1", payload: Buffer.from("w"), qos: 0, retain: true } }).drain("connack"), [{ reasonCode: 0x9a }]);
  const reader = connectBy(gateway, WIDE, `${b}r`, 4);
  reader.send(subscribe("#"));
  t.same(reader.payloads(), ["kept"]);
}, listeners({ retainAvailable: false }));

onShards("packet_size_max is announced; a larger packet disconnects with 0x95, on this listener alone", (t, gateway, { a, b }) => {
  const five = connectBy(gateway, NARROW, a, 5);
  t.match(five.drain("connack"), [{ properties: { maximumPacketSize: 200 } }]);
  const size = (payload: string): number => mqttPacket.generate(publish("t", payload), { protocolVersion: 5 }).length;
  const fits = "x".repeat(200 - size("x".repeat(150)) + 150);
  t.equal(size(fits), 200);
  five.send(subscribe("t"), publish("t", fits));
  t.same(five.payloads(), [fits]);
  five.send(publish("t", `${fits}x`));
  t.match(five.drain("disconnect"), [{ reasonCode: 0x95 }]);
  t.match(connectBy(gateway, NARROW, `${a}${"c".repeat(200)}`, 5).drain("connack"), [{ reasonCode: 0x95 }]);
  const wide = connectBy(gateway, WIDE, b, 5);
  wide.send(publish("t", `${fits}x`, 1));
  t.match(wide.drain("puback"), [{ reasonCode: 0 }]);
}, listeners({ packetSizeMax: 200 }));

onShards("keep_alive_max, receive_maximum, topic_alias_maximum and session_expiry_max are the listener's", (t, gateway, { a, b }) => {
  const asked = { keepalive: 0, properties: { sessionExpiryInterval: 1000 } };
  t.match(connectBy(gateway, NARROW, a, 5, asked).drain("connack"), [{ properties: { serverKeepAlive: 20, receiveMaximum: 3, topicAliasMaximum: 2, sessionExpiryInterval: 10 } }]);
  t.match(connectBy(gateway, WIDE, b, 5, asked).drain("connack"), [{ properties: { receiveMaximum: 1024, topicAliasMaximum: 32 } }]);
  gateway.isStoreFast = false;
  const flooding = connectBy(gateway, NARROW, `${a}f`, 5);
  flooding.send(...[1, 2, 3, 4].map((messageId) => publish("t", "x", 1, { messageId })));
  t.match(flooding.drain("disconnect"), [{ reasonCode: 0x93 }]);
  const aliasing = connectBy(gateway, NARROW, `${b}al`, 5);
  aliasing.send(publish("t", "x", 0, { properties: { topicAlias: 3 } }));
  t.match(aliasing.drain("disconnect"), [{ reasonCode: 0x94 }]);
}, listeners({ keepAliveMaxSeconds: 20, receiveMaximum: 3, topicAliasMaximum: 2, sessionExpiryMaxSeconds: 10 }));

onShards("inflight_max and queue_count_max are those of the listener that the session's client came by", (t, gateway, { a, b }) => {
  const narrow = connectBy(gateway, NARROW, a, 4, { clean: false });
  const wide = connectBy(gateway, WIDE, b, 4, { clean: false });
  for (const client of [narrow, wide]) client.send(subscribe("t", 1));
  const publisher = gateway.connect(`${a}p`);
  for (let i = 0; i < 8; i++) publisher.send(publish("t", String(i), 1));
  t.same([narrow.payloads(), wide.payloads()], [["0", "1"], ["0", "1", "2", "3", "4", "5", "6", "7"]]);
  narrow.cut();
  const back = connectBy(gateway, WIDE, a, 4, { clean: false });
  t.same(back.payloads(), ["0", "1", "2", "3", "4"], "two were in flight, three were queued, the others refused");
}, listeners({ inflightMax: 2, queueCountMax: 3 }));

onShards("empty_client_id refuse: 0x85 for MQTT 5, return code 2 for 3.1.1", (t, gateway) => {
  t.match(connectBy(gateway, NARROW, "", 5).drain("connack"), [{ reasonCode: 0x85 }]);
  t.match(connectBy(gateway, NARROW, "", 4).drain("connack"), [{ returnCode: 2 }]);
  t.match(connectBy(gateway, WIDE, "", 5).drain("connack"), [{ reasonCode: 0 }]);
}, listeners({ allowsEmptyClientId: false }));

onShards("connections_max counts a listener's clients on all shards and addresses, and gives the place of one that left to the next", (t, gateway, { a, b }) => {
  const first = connectBy(gateway, NARROW, a, 5);
  const second = connectBy(gateway, NARROW + 1, `${b}2`, 5);
  t.match([...first.drain("connack"), ...second.drain("connack")], [{ reasonCode: 0 }, { reasonCode: 0 }]);
  t.match(connectBy(gateway, NARROW, b, 5).drain("connack"), [{ reasonCode: 0x97 }]);
  t.match(connectBy(gateway, NARROW, b, 4).drain("connack"), [{ returnCode: 3 }]);
  t.match(connectBy(gateway, WIDE, `${a}w`, 5).drain("connack"), [{ reasonCode: 0 }]);
  const again = connectBy(gateway, NARROW, `${b}2`, 5);
  t.match(again.drain("connack"), [{ reasonCode: 0 }], "a client that comes back takes its own place");
  again.cut();
  const third = connectBy(gateway, NARROW, b, 5);
  t.match(third.drain("connack"), [{ reasonCode: 0 }]);
  first.send({ cmd: "disconnect", reasonCode: 0 } as never);
  t.match(connectBy(gateway, NARROW, `${b}4`, 5).drain("connack"), [{ reasonCode: 0 }]);
  t.match(connectBy(gateway, NARROW, `${b}5`, 5).drain("connack"), [{ reasonCode: 0x97 }]);
  gateway.restart(third.shard);
  t.match(connectBy(gateway, NARROW, b, 5).drain("connack"), [{ reasonCode: 0 }], "clients of a shard that died are gone");
}, listeners({ connectionsMax: 2 }));
