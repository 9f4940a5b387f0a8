import t from "tap";
import { DeliveryQueue, Session, type Delivery } from "../../src/broker/session.js";
import { StoredMessage } from "../../src/broker/stored-message.js";

function subscriptionOf(session: Session, filter: string, qos: number) {
  return { key: session, filter, qos, noLocal: false, retainAsPublished: false, identifier: 0 };
}

function deliveryOf(size: number): Delivery {
  return { message: new StoredMessage("topic", Buffer.alloc(size), Number.POSITIVE_INFINITY), qos: 1, retain: false, identifiers: null };
}

t.test("sessions without subscriptions share nothing that one of them can change", (t) => {
  const first = new Session("first");
  const second = new Session("second");
  t.equal(first.unsubscribe("a"), false);
  first.subscribe(subscriptionOf(first, "a", 0));
  first.subscribe(subscriptionOf(first, "a", 1));
  first.subscribe(subscriptionOf(first, "b", 1));
  t.same([...first.subscriptions.keys()], ["a", "b"]);
  t.equal(first.subscriptions.get("a")?.qos, 1);
  t.equal(second.subscriptions.size, 0);
  t.equal(first.unsubscribe("a"), true);
  t.equal(first.unsubscribe("a"), false);
  first.unsubscribeAll();
  t.equal(first.subscriptions.size, 0);
  t.end();
});

t.test("a client id is told as UTF-8, the same bytes each time", (t) => {
  const session = new Session("Gerät-7");
  t.same(Buffer.from(session.clientIdBytes).toString("utf8"), "Gerät-7");
  t.equal(session.clientIdBytes, session.clientIdBytes);
  t.end();
});

t.test("queues that are empty share nothing that one of them can change", (t) => {
  const first = new DeliveryQueue();
  const second = new DeliveryQueue();
  const delivery = deliveryOf(64);
  const size = delivery.message.size;
  t.equal(first.push(delivery, 10, size - 1), false);
  t.equal(first.count, 0);
  t.equal(first.push(delivery, 10, 10 * size), true);
  t.equal(second.count, 0);
  t.equal(second.peek(), undefined);
  t.equal(first.bytes, size);
  t.equal(first.shift(), delivery);
  t.equal(first.shift(), undefined);
  t.equal(first.push(delivery, 10, 10 * size), true);
  first.clear();
  t.equal(first.count, 0);
  t.equal(first.push(delivery, 10, 10 * size), true);
  t.same([...first.all()], [delivery]);
  t.same([...second.all()], []);
  t.equal(new DeliveryQueue().count, 0);
  t.end();
});
