# What paho.mqtt for Python makes of the gateway: one line "ok NAME" for each scenario that went well, in MQTT 3.1, 3.1.1 and 5.0.
# Arguments: port, then for TLS the CA's file, then for a client certificate its file and its key's. Exits with 1 at the first scenario that fails. Every wait has a limit.
import queue
import ssl
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
CA_FILE = sys.argv[2] if len(sys.argv) > 2 else None
CERTIFICATE_FILE, KEY_FILE = sys.argv[3:5] if len(sys.argv) > 4 else (None, None)
LIMIT_SECONDS = 20


class Client:
    """A client whose callbacks go into queues."""

    def __init__(self, client_id, version=mqtt.MQTTv5, clean=True, expiry=0, will=None, properties=None):
        extra = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.client = mqtt.Client(client_id, protocol=version, **extra)
        self.connects, self.disconnects, self.messages, self.acks = queue.Queue(), queue.Queue(), queue.Queue(), queue.Queue()
        if version == mqtt.MQTTv5:
            self.client.on_connect = lambda _c, _u, flags, code, given: self.connects.put((flags, code, given))
            self.client.on_disconnect = lambda _c, _u, code, given=None: self.disconnects.put(code)
            self.client.on_subscribe = lambda _c, _u, mid, codes, given: self.acks.put([code.value for code in codes])
            self.client.on_unsubscribe = lambda _c, _u, mid, given, codes: self.acks.put("unsubscribed")
        else:
            self.client.on_connect = lambda _c, _u, flags, code: self.connects.put((flags, code, None))
            self.client.on_disconnect = lambda _c, _u, code: self.disconnects.put(code)
            self.client.on_subscribe = lambda _c, _u, mid, codes: self.acks.put(list(codes))
            self.client.on_unsubscribe = lambda _c, _u, mid: self.acks.put("unsubscribed")
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        if CA_FILE is not None:
            self.client.tls_set(CA_FILE, CERTIFICATE_FILE, KEY_FILE, cert_reqs=ssl.CERT_REQUIRED)
        if will is not None:
            self.client.will_set(**will)
        connect = {}
        if version == mqtt.MQTTv5:
            given = properties or Properties(PacketTypes.CONNECT)
            if expiry > 0:
                given.SessionExpiryInterval = expiry
            connect = {"clean_start": clean, "properties": given}
        self.client.connect("127.0.0.1", PORT, keepalive=30, **connect)
        self.client.loop_start()
        self.flags, self.code, self.given = self.connects.get(timeout=LIMIT_SECONDS)

    def subscribe(self, *args, **kwargs):
        self.client.subscribe(*args, **kwargs)
        return self.acks.get(timeout=LIMIT_SECONDS)

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        sent = self.client.publish(topic, payload, qos, retain, properties)
        sent.wait_for_publish()

    def take(self):
        return self.messages.get(timeout=LIMIT_SECONDS)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()

    def cut(self):
        """The network ends without DISCONNECT."""
        self.client.loop_stop()
        self.client._sock_close()


def expect(is_so, what):
    if not is_so:
        raise AssertionError(what)


def qos_both_ways(version):
    subscriber, publisher = Client("paho-sub", version), Client("paho-pub", version)
    expect(subscriber.subscribe("paho/#", 2) == [2], "granted QoS 2")
    for qos in (0, 1, 2):
        publisher.publish(f"paho/{qos}", f"with {qos}", qos)
        message = subscriber.take()
        expect((message.topic, message.payload, message.qos, message.retain) == (f"paho/{qos}", f"with {qos}".encode(), qos, False), "as it was published")
    subscriber.client.unsubscribe("paho/#")
    expect(subscriber.acks.get(timeout=LIMIT_SECONDS) == "unsubscribed", "UNSUBACK")
    publisher.end()
    subscriber.end()


def session_goes_on(version):
    first = Client("paho-kept", version, clean=False, expiry=60)
    first.subscribe("kept/+", 2)
    first.end()
    publisher = Client("paho-pub", version)
    for i in range(20):
        publisher.publish("kept/x", str(i), 1 + i % 2)
    second = Client("paho-kept", version, clean=False, expiry=60)
    expect(version == mqtt.MQTTv31 or second.flags["session present"] == 1, "session present")
    got = [int(second.take().payload) for _ in range(20)]
    # QoS 2 takes a way of its own: the order is that of each QoS.
    for rest in (0, 1):
        expect([i for i in got if i % 2 == rest] == list(range(rest, 20, 2)), f"in order, each once: {got}")
    second.end()
    Client("paho-kept", version, clean=True).end()
    publisher.end()


def will_and_retained(version):
    watcher = Client("paho-watcher", version)
    watcher.subscribe("will/paho", 1)
    Client("paho-dying", version, will={"topic": "will/paho", "payload": "gone", "qos": 1, "retain": True}).cut()
    expect(watcher.take().payload == b"gone", "the will")
    late = Client("paho-late", version)
    late.subscribe("will/paho", 1)
    message = late.take()
    expect(message.payload == b"gone" and message.retain, "retained")
    watcher.publish("will/paho", b"", 1, True)
    late.end()
    watcher.end()


def properties_of_5(_version):
    properties = Properties(PacketTypes.CONNECT)
    properties.TopicAliasMaximum = 10
    properties.ReceiveMaximum = 3
    subscriber = Client("paho-five", properties=properties)
    given = Properties(PacketTypes.SUBSCRIBE)
    given.SubscriptionIdentifier = 77
    subscriber.subscribe("five/answer", options=SubscribeOptions(qos=1), properties=given)
    publisher = Client("")
    expect(publisher.given.AssignedClientIdentifier != "", "an assigned client id")
    sent = Properties(PacketTypes.PUBLISH)
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answers"
    sent.CorrelationData = b"\x00\x01"
    sent.MessageExpiryInterval = 60
    sent.PayloadFormatIndicator = 1
    sent.UserProperty = [("k", "2"), ("k", "1"), ("a", "")]
    for i in range(10):
        publisher.publish("five/answer", f"größer {i}", 1, properties=sent)
    for i in range(10):
        message = subscriber.take()
        got = message.properties
        expect(message.payload.decode() == f"größer {i}", "in order")
        expect((got.ContentType, got.ResponseTopic, got.CorrelationData, got.PayloadFormatIndicator) == ("text/plain", "answers", b"\x00\x01", 1), "properties")
        expect(got.UserProperty == [("k", "2"), ("k", "1"), ("a", "")], "user properties in order")
        expect(got.SubscriptionIdentifier == [77] and 0 < got.MessageExpiryInterval <= 60, "identifier and expiry")
        expect(got.TopicAlias == 1, "a topic alias")
    subscriber.end()
    publisher.end()


def options_of_5(_version):
    publisher = Client("paho-pub")
    publisher.publish("opt/r", "kept", 1, True)
    client = Client("paho-options")
    client.subscribe("opt/r", options=SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND))
    client.publish("opt/r", "own", 1, True)
    publisher.publish("opt/r", "live", 1, True)
    message = client.take()
    expect(message.payload == b"live" and message.retain, "neither the retained message nor the own one; retain as published")
    publisher.publish("opt/r", b"", 1, True)
    client.end()
    publisher.end()


def take_over_of_5(_version):
    first = Client("paho-twice")
    first.client.reconnect_delay_set(60, 60)
    second = Client("paho-twice")
    # This paho reads the reason only of packets that have properties too.
    first.disconnects.get(timeout=LIMIT_SECONDS)
    first.client.loop_stop()
    second.end()


SCENARIOS = [
    (qos_both_ways, (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)),
    (session_goes_on, (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)),
    (will_and_retained, (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)),
    (properties_of_5, (mqtt.MQTTv5,)),
    (options_of_5, (mqtt.MQTTv5,)),
    (take_over_of_5, (mqtt.MQTTv5,)),
]

for scenario, versions in SCENARIOS:
    for version in versions:
        try:
            scenario(version)
        except (AssertionError, AttributeError, queue.Empty) as error:
            print(f"not ok {scenario.__name__} {version}: {error!r}", flush=True)
            sys.exit(1)
        print(f"ok {scenario.__name__} {version}", flush=True)
