import t from "tap";
import { Inflight, INFLIGHT_STATE } from "../../src/broker/inflight.js";

const { AWAIT_PUBACK, AWAIT_PUBREC, AWAIT_PUBCOMP, COMMIT_SENT, FREE } = INFLIGHT_STATE;

function idsOf(inflight: Inflight<string>): number[] {
  const ids: number[] = [];
  inflight.forEach((packetId) => ids.push(packetId));
  return ids;
}

t.test("a window that was never used answers as an empty one", (t) => {
  const inflight = new Inflight<string>();
  for (const packetId of [0, 1, 16, 65535]) {
    t.equal(inflight.acknowledge(packetId, AWAIT_PUBACK), false);
    t.equal(inflight.committed(packetId), false);
    t.equal(inflight.released(packetId), false);
    t.equal(inflight.stateOf(packetId), FREE);
    t.equal(inflight.itemOf(packetId), undefined);
  }
  inflight.reopen(() => t.fail("nothing is to be released"));
  t.equal(inflight.hasUnsent, false);
  t.equal(inflight.takeUnsent(10), 0);
  t.same(idsOf(inflight), []);
  t.end();
});

t.test("windows that share memory while they are empty do not see each other's packet ids", (t) => {
  const first = new Inflight<string>();
  const second = new Inflight<string>();
  t.equal(first.open(AWAIT_PUBACK, "first", 10), 1);
  t.equal(second.stateOf(1), FREE);
  t.equal(second.acknowledge(1, AWAIT_PUBACK), false);
  t.equal(second.open(AWAIT_PUBREC, "second", 10), 1);
  t.equal(first.itemOf(1), "first");
  t.equal(second.itemOf(1), "second");
  t.equal(new Inflight<string>().stateOf(1), FREE);
  t.end();
});

t.test("a cleared window is empty, and can be used again without touching others", (t) => {
  const inflight = new Inflight<string>();
  for (let i = 0; i < 100; i++) inflight.open(AWAIT_PUBACK, `item ${i}`, 1000);
  inflight.clear();
  t.equal(inflight.count, 0);
  t.equal(inflight.hasUnsent, false);
  t.same(idsOf(inflight), []);
  const packetId = inflight.open(AWAIT_PUBREC, "again", 10);
  t.ok(packetId > 100);
  t.equal(new Inflight<string>().stateOf(packetId), FREE);
  t.equal(inflight.itemOf(packetId), "again");
  t.end();
});

t.test("more packet ids than a first window holds are kept in the order of sending", (t) => {
  const inflight = new Inflight<string>();
  const ids = Array.from({ length: 200 }, (_, i) => inflight.open(AWAIT_PUBACK, `item ${i}`, 200));
  t.equal(inflight.open(AWAIT_PUBACK, "one too many", 200), 0);
  t.same(idsOf(inflight), ids);
  for (let i = 0; i < 200; i += 2) t.equal(inflight.acknowledge(ids[i]!, AWAIT_PUBACK), true);
  t.same(idsOf(inflight), ids.filter((_, i) => i % 2 === 1));
  t.equal(inflight.itemOf(ids[1]!), "item 1");
  t.end();
});

t.test("a resumed session sends again what was not acknowledged, and releases what was received", (t) => {
  const inflight = new Inflight<string>();
  const [first, second, third] = [1, 2, 3].map((i) => inflight.open(AWAIT_PUBREC, `item ${i}`, 10)) as [number, number, number];
  inflight.received(second, AWAIT_PUBCOMP);
  const released: number[] = [];
  inflight.reopen((packetId) => released.push(packetId));
  t.same(released, [second]);
  t.equal(inflight.hasUnsent, true);
  t.equal(inflight.takeUnsent(10), first);
  t.equal(inflight.isFirst, false);
  t.equal(inflight.acknowledge(third, AWAIT_PUBREC), true);
  t.equal(inflight.takeUnsent(10), 0);
  t.end();
});

t.test("what was committed is sent for the first time, once", (t) => {
  const inflight = new Inflight<string>();
  const packetId = inflight.open(COMMIT_SENT, "item", 10);
  t.equal(inflight.hasUnsent, false);
  t.equal(inflight.committed(packetId), true);
  t.equal(inflight.committed(packetId), false);
  t.equal(inflight.takeUnsent(10), packetId);
  t.equal(inflight.isFirst, true);
  t.equal(inflight.hasUnsent, false);
  t.equal(inflight.stateOf(packetId), AWAIT_PUBREC);
  t.end();
});

t.test("a window taken up from the journal goes on with its packet ids", (t) => {
  const inflight = new Inflight<string>();
  for (const packetId of [65534, 65535, 1]) inflight.restore(packetId, AWAIT_PUBACK, `item ${packetId}`);
  t.same(idsOf(inflight), [65534, 65535, 1]);
  t.equal(inflight.open(AWAIT_PUBACK, "next", 10), 2);
  t.equal(new Inflight<string>().stateOf(65534), FREE);
  t.end();
});
