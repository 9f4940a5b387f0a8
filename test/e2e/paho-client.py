# A paho client over WebSocket: publishes to its own subscription in every QoS, prints what came back, and ends.
# Arguments: host, port, CA file, "4" or "5" for MQTT 3.1.1 or 5.
import sys
import threading

import paho.mqtt.client as mqtt

host, port, ca_file, version = sys.argv[1:]
client = mqtt.Client(client_id=f"paho-{version}", protocol=int(version), transport="websockets")
client.ws_set_options(path="/mqtt")
client.tls_set(ca_certs=ca_file)
received = []
all_received = threading.Event()


def on_connect(client, *_):
    client.subscribe(f"paho/{version}/#", qos=2)


def on_subscribe(client, *_):
    for qos in (0, 1, 2):
        client.publish(f"paho/{version}/{qos}", "x" * (1000 * 100**qos // 10), qos=qos)


def on_message(client, userdata, message):
    received.append(f"{message.topic} {message.qos} {len(message.payload)}")
    if len(received) == 3:
        all_received.set()


client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_message = on_message
client.connect(host, int(port), keepalive=20)
client.loop_start()
is_whole = all_received.wait(20)
client.disconnect()
client.loop_stop()
print("\n".join(sorted(received)))
sys.exit(0 if is_whole else 1)
