// mqtt-packet as the second opinion: what it generates we read, what we write it reads, on random packets.
import mqttPacket from "mqtt-packet";
import t from "tap";
import { AckHead, readAck, writeAck } from "../../../src/protocol/mqtt/acks.js";
import { decodeConnect, decodeSubscribe, decodeUnsubscribe } from "../../../src/protocol/mqtt/control-decoder.js";
import { MESSAGE_EXPIRY_NONE, PublishHead } from "../../../src/protocol/mqtt/publish-head.js";
import { copyForwardProperties, readPublish } from "../../../src/protocol/mqtt/publish.js";
import { OutgoingPublish, measurePublish, writePublish } from "../../../src/protocol/mqtt/publish-writer.js";
import { PACKET } from "../../../src/protocol/mqtt/packet-types.js";
import { frameOf, randomOf, type Random } from "./support.js";

const ROUNDS = 250;
const CHARACTERS: readonly string[] = [..."abcXYZ019 _-.$äß€日本語😀🚀\u0001\ufeff\uffff"];

function text(random: Random, lengthMax: number, lengthMin = 0): string {
  return Array.from({ length: lengthMin + random.below(lengthMax - lengthMin + 1) }, () => random.pick(CHARACTERS)).join("");
}

function topicName(random: Random): string {
  const topic = Array.from({ length: 1 + random.below(4) }, () => text(random, 6)).join("/");
  return topic === "" ? "t" : topic;
}

/** None rather than an empty object, of which mqtt-packet makes an empty packet. */
function userProperties(random: Random): Record<string, string[]> | undefined {
  const groups: Record<string, string[]> = {};
  const count = random.below(3);
  if (count === 0) return undefined;
  for (let i = count; i > 0; i--) groups[`name${i}${text(random, 3)}`] = Array.from({ length: 1 + random.below(2) }, () => text(random, 5, 1));
  return groups;
}

/** mqtt-packet gives one value as it is and several as an array. */
const asGenerated = (groups: Record<string, string[]> | undefined): Record<string, string | string[]> | undefined =>
  groups && Object.fromEntries(Object.entries(groups).map(([name, values]) => [name, values.length === 1 ? values[0]! : values]));

/** A value or nothing, by chance. */
function perhaps<Value>(random: Random, value: () => Value): Value | undefined {
  return random.chance(50) ? value() : undefined;
}

type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };

const without = <T extends object>(properties: T): Given<T> => Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as Given<T>;

function publishProperties(random: Random): object {
  return without({
    payloadFormatIndicator: perhaps(random, () => random.chance(50)),
    messageExpiryInterval: perhaps(random, () => random.below(0xffff_fffe)),
    contentType: perhaps(random, () => text(random, 10)),
    responseTopic: perhaps(random, () => topicName(random)),
    correlationData: perhaps(random, () => random.bytes(random.below(10))),
    userProperties: asGenerated(userProperties(random)),
  });
}

function parsedBy(version: number, packet: Buffer): mqttPacket.Packet {
  const packets: mqttPacket.Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (each) => packets.push(each));
  parser.on("error", (error: Error) => {
    throw error;
  });
  parser.parse(packet);
  return packets[0]!;
}

/** As plain objects, to be compared. */
const plain = (properties: object | undefined): unknown => JSON.parse(JSON.stringify(properties ?? {}, (_, value: unknown) => (value instanceof Map ? [...value] : value)));

t.test("a PUBLISH of mqtt-packet is read, and forwarded so that mqtt-packet reads the same", (t) => {
  const random = randomOf(t);
  for (let round = 0; round < ROUNDS; round++) {
    const version = random.pick([4, 5] as const);
    const qos = random.pick([0, 1, 2] as const);
    const properties = publishProperties(random) as NonNullable<mqttPacket.IPublishPacket["properties"]>;
    const alias = version === 5 && random.chance(30) ? 1 + random.below(0xffff) : 0;
    const sent: mqttPacket.IPublishPacket = {
      cmd: "publish", qos, dup: qos > 0 && random.chance(50), retain: random.chance(50), topic: topicName(random), payload: random.bytes(random.below(200)),
      messageId: 1 + random.below(0xffff), properties: alias === 0 ? properties : { ...properties, topicAlias: alias },
    };
    const packet = mqttPacket.generate(sent, { protocolVersion: version });
    const at = random.below(20);
    const bytes = Buffer.concat([random.bytes(at), packet]);
    const frame = frameOf(bytes, at);
    const head = new PublishHead();
    readPublish(bytes, frame, version, head);
    t.equal(bytes.toString("utf8", head.topicAt, head.topicAt + head.topicLength), sent.topic);
    t.ok(bytes.subarray(head.payloadAt, head.payloadAt + head.payloadLength).equals(sent.payload as Buffer));
    t.same([head.qos, head.dup, head.retain, head.packetId, head.topicAlias], [qos, sent.dup, sent.retain, qos === 0 ? 0 : sent.messageId, alias]);
    t.equal(head.messageExpiry, version === 5 ? (properties.messageExpiryInterval ?? MESSAGE_EXPIRY_NONE) : MESSAGE_EXPIRY_NONE);

    const forward = Buffer.alloc(head.forwardLength);
    copyForwardProperties(forward, 0, bytes, head);
    const out = new OutgoingPublish();
    out.version = version;
    out.qos = qos;
    out.retain = head.retain;
    out.packetId = 1 + random.below(0xffff);
    out.topicBytes = bytes;
    out.topicAt = head.topicAt;
    out.topicLength = head.topicLength;
    out.propertiesBytes = forward;
    out.propertiesLength = forward.length;
    out.messageExpiry = head.messageExpiry;
    out.subscriptionIdentifiers = Array.from({ length: random.below(3) }, () => 1 + random.below(268_435_455));
    out.payloadBytes = bytes;
    out.payloadAt = head.payloadAt;
    out.payloadLength = head.payloadLength;
    const written = Buffer.alloc(measurePublish(out));
    t.equal(writePublish(written, 0, out), written.length);
    const again = parsedBy(version, written) as mqttPacket.IPublishPacket;
    t.equal(again.topic, sent.topic);
    t.ok((again.payload as Buffer).equals(sent.payload as Buffer));
    t.same([again.qos, again.dup, again.retain, again.messageId], [qos, false, sent.retain, qos === 0 ? undefined : out.packetId]);
    const identifiers = out.subscriptionIdentifiers;
    const expected = { ...properties, ...(identifiers.length === 0 ? {} : { subscriptionIdentifier: identifiers.length === 1 ? identifiers[0] : identifiers }) };
    t.same(plain(again.properties), version === 5 ? plain(expected) : {});
    if (!t.passing()) break;
  }
  t.end();
});

t.test("acknowledgements agree with mqtt-packet both ways", (t) => {
  const random = randomOf(t);
  const names = { [PACKET.PUBACK]: "puback", [PACKET.PUBREC]: "pubrec", [PACKET.PUBREL]: "pubrel", [PACKET.PUBCOMP]: "pubcomp" } as const;
  for (let round = 0; round < ROUNDS; round++) {
    const version = random.pick([4, 5] as const);
    const type = random.pick([PACKET.PUBACK, PACKET.PUBREC, PACKET.PUBREL, PACKET.PUBCOMP] as const);
    const messageId = 1 + random.below(0xffff);
    const reasonCode = random.chance(50) ? 0 : type === PACKET.PUBREL || type === PACKET.PUBCOMP ? 0x92 : 0x87;
    const properties = random.chance(50) ? without({ reasonString: text(random, 10), userProperties: userProperties(random) }) : undefined;
    const generated = mqttPacket.generate({ cmd: names[type], messageId, reasonCode, ...(properties === undefined ? {} : { properties }) }, { protocolVersion: version });
    const head = new AckHead();
    readAck(generated, frameOf(generated), version, head);
    t.same({ ...head }, { packetId: messageId, reasonCode: version === 4 ? 0 : reasonCode });
    const written = Buffer.alloc(5);
    const size = writeAck(written, 0, type, version, messageId, reasonCode);
    const again = parsedBy(version, written.subarray(0, size)) as mqttPacket.IPubackPacket;
    t.same([again.cmd, again.messageId, again.reasonCode], [names[type], messageId, version === 4 ? undefined : reasonCode]);
    if (!t.passing()) break;
  }
  t.end();
});

t.test("a CONNECT of mqtt-packet is decoded to what was put in", (t) => {
  const random = randomOf(t);
  for (let round = 0; round < ROUNDS; round++) {
    const version = random.pick([4, 5] as const);
    const clean = random.chance(50);
    const willProperties = { ...publishProperties(random), willDelayInterval: random.below(0xffff_ffff) } as { messageExpiryInterval?: number; willDelayInterval: number };
    const will = perhaps(random, () => ({ topic: topicName(random), payload: random.bytes(random.below(50)), qos: random.pick([0, 1, 2] as const), retain: random.chance(50), ...(version === 5 ? { properties: willProperties } : {}) }));
    const username = perhaps(random, () => text(random, 10));
    const password = username === undefined ? undefined : perhaps(random, () => random.bytes(random.below(20)));
    const properties = without({
      sessionExpiryInterval: perhaps(random, () => random.below(0xffff_ffff)),
      receiveMaximum: perhaps(random, () => 1 + random.below(0xffff)),
      maximumPacketSize: perhaps(random, () => 1 + random.below(268_435_460)),
      topicAliasMaximum: perhaps(random, () => random.below(0x1_0000)),
      requestResponseInformation: perhaps(random, () => random.chance(50)),
      requestProblemInformation: perhaps(random, () => random.chance(50)),
      authenticationMethod: random.chance(50) ? undefined : text(random, 5),
      userProperties: userProperties(random),
    });
    const sent = without({
      cmd: "connect" as const, protocolVersion: version, clean, keepalive: random.below(0x1_0000), clientId: text(random, 20, clean ? 0 : 1), will, username, password,
      properties: version === 5 ? properties : undefined,
    }) as mqttPacket.IConnectPacket;
    const packet = mqttPacket.generate(sent);
    const value = decodeConnect(packet, frameOf(packet));
    const given = version === 5 ? properties : ({} as Partial<typeof properties>);
    const { will: gotWill, userProperties: gotUserProperties, ...rest } = value;
    t.strictSame(rest, {
      protocolVersion: version, isMqtt31: false, isBridge: false, cleanStart: clean, keepAliveSeconds: sent.keepalive, clientId: sent.clientId, userName: username, password,
      sessionExpiry: given.sessionExpiryInterval ?? (version === 4 && !clean ? 0xffff_ffff : 0), receiveMaximum: given.receiveMaximum ?? 0xffff,
      maximumPacketSize: given.maximumPacketSize ?? 268_435_460, topicAliasMaximum: given.topicAliasMaximum ?? 0, requestProblemInformation: given.requestProblemInformation ?? true,
      requestResponseInformation: given.requestResponseInformation ?? false, authenticationMethod: given.authenticationMethod, authenticationData: undefined,
    });
    t.same(gotUserProperties, Object.entries(given.userProperties ?? {}).flatMap(([name, values]) => values.map((each) => [name, each])));
    t.equal(gotWill === undefined, will === undefined);
    if (gotWill !== undefined && will !== undefined) {
      t.same([gotWill.topic, gotWill.qos, gotWill.retain], [will.topic, will.qos, will.retain]);
      t.ok(gotWill.payload.equals(will.payload));
      t.same([gotWill.delay, gotWill.messageExpiry], version === 5 ? [willProperties.willDelayInterval, willProperties.messageExpiryInterval ?? MESSAGE_EXPIRY_NONE] : [0, MESSAGE_EXPIRY_NONE]);
    }
    if (!t.passing()) break;
  }
  t.end();
});

t.test("SUBSCRIBE and UNSUBSCRIBE of mqtt-packet are decoded to what was put in", (t) => {
  const random = randomOf(t);
  for (let round = 0; round < ROUNDS; round++) {
    const version = random.pick([4, 5] as const);
    const messageId = 1 + random.below(0xffff);
    const filters = Array.from({ length: 1 + random.below(4) }, () => topicName(random));
    const subscriptions = filters.map((topic) => ({ topic, qos: random.pick([0, 1, 2] as const), ...(version === 5 ? { nl: random.chance(50), rap: random.chance(50), rh: random.below(3) } : {}) }));
    const subscriptionIdentifier = version === 5 && random.chance(50) ? 1 + random.below(268_435_455) : 0;
    const packet = mqttPacket.generate({ cmd: "subscribe", messageId, subscriptions, ...(subscriptionIdentifier === 0 ? {} : { properties: { subscriptionIdentifier } }) }, { protocolVersion: version });
    t.strictSame(decodeSubscribe(packet, frameOf(packet), version), {
      packetId: messageId, subscriptionIdentifier, userProperties: [],
      subscriptions: subscriptions.map(({ topic, qos, nl, rap, rh }) => ({ filter: topic, qos, noLocal: nl ?? false, retainAsPublished: rap ?? false, retainHandling: rh ?? 0 })),
    });
    const unsubscribe = mqttPacket.generate({ cmd: "unsubscribe", messageId, unsubscriptions: filters }, { protocolVersion: version });
    t.strictSame(decodeUnsubscribe(unsubscribe, frameOf(unsubscribe), version), { packetId: messageId, filters, userProperties: [] });
    if (!t.passing()) break;
  }
  t.end();
});
