// Groups of shared subscriptions: who gets what, what goes back, what is refused.
import t from "tap";
import { SHARED_MEMBER_BYTES_MAX } from "../../src/base/limits.js";
import { EXPIRES_NEVER, MESSAGE_ID_AT } from "../../src/base/message-record.js";
import { ANSWER, type Courier, type Member, type MemberState, PAUSE, SharedGroup, SharedGroups } from "../../src/broker/shared-groups.js";
import { storedMessage, type StoredMessage } from "../../src/broker/stored-message.js";
import { Random } from "../protocol/mqtt/support.js";

interface Sent {
  readonly handle: number;
  readonly sequence: number;
  readonly text: string;
}

/** Notes what is sent; shards in `unreachable` have no room. */
class TestCourier implements Courier {
  readonly sent: Sent[] = [];
  readonly unreachable = new Set<number>();
  expiredCount = 0;

  reaches(shard: number): boolean {
    return !this.unreachable.has(shard);
  }

  send(_group: SharedGroup, member: Member, sequence: number, { record, view }: StoredMessage): void {
    const payloadLength = view.getUint32(12, true);
    this.sent.push({ handle: member.handle, sequence, text: record.toString("latin1", record.length - payloadLength) });
  }

  expired(): void {
    this.expiredCount++;
  }

  take(): Sent[] {
    return this.sent.splice(0);
  }
}

const COUNT_MAX = 10;
const BYTES_MAX = 100_000;

function message(text: string, qos: number, expiresAt = Number.POSITIVE_INFINITY, id = 0): StoredMessage {
  const nothing = new Uint8Array(0);
  const made = storedMessage(
    { topic: "t", payload: Buffer.from(text), properties: nothing, clientId: "", qos, retain: false, expiresIn: EXPIRES_NEVER, receivedAt: 0, deviceHash: 0, isForLane: false },
    expiresAt,
  );
  made.view.setFloat64(MESSAGE_ID_AT, id, true);
  return made;
}

function open(qos: number, window = 100, isKept = false): MemberState {
  return { qos, window, isOpen: true, isKept };
}

const AWAY: MemberState = { qos: 1, window: 100, isOpen: false, isKept: false };

/** A group whose members 1 … count are on shards 0, 1, 2 in turn. */
function groupOf(count: number, qos = 2, window = 100): { readonly group: SharedGroup; readonly courier: TestCourier; readonly give: (text: string, qos: number) => boolean } {
  const group = new SharedGroup(1, "$share/g/t", "t");
  const courier = new TestCourier();
  for (let handle = 1; handle <= count; handle++) group.put(handle % 3, handle, open(qos, window));
  const give = (text: string, messageQos: number): boolean => {
    const isTaken = group.push(message(text, messageQos), COUNT_MAX, BYTES_MAX);
    group.pump(courier, 0);
    return isTaken;
  };
  return { group, courier, give };
}

function handlesOf(sent: readonly Sent[]): number[] {
  return sent.map(({ handle }) => handle);
}

void t.test("messages go round robin over the members", (t) => {
  const { courier, give } = groupOf(4);
  for (let i = 0; i < 12; i++) give(String(i), 1 + (i % 2));
  t.same(handlesOf(courier.sent), [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
  t.same(courier.sent.map(({ text }) => text), Array.from({ length: 12 }, (_, i) => String(i)));
  t.end();
});

void t.test("a member that leaves or joins does not upset the round of the others", (t) => {
  const { group, courier, give } = groupOf(4);
  for (let i = 0; i < 2; i++) give("x", 1);
  group.remove(1, 1);
  for (let i = 0; i < 3; i++) give("x", 1);
  group.put(2, 5, open(1));
  for (let i = 0; i < 4; i++) give("x", 1);
  t.same(handlesOf(courier.sent), [1, 2, 3, 4, 2, 3, 4, 5, 2]);
  t.end();
});

void t.test("members without room in their window, without a reader, or behind a full ring are passed over", (t) => {
  const { group, courier, give } = groupOf(3, 2, 2);
  group.put(1, 1, AWAY);
  for (let i = 0; i < 4; i++) give(String(i), 1);
  t.same(handlesOf(courier.take()), [2, 3, 2, 3]);
  give("waits", 1);
  t.same([courier.sent.length, group.queueCount], [0, 1], "all windows are full");
  t.equal(group.pump(courier, 0), PAUSE.MEMBERS);
  group.answer(0, 2, ANSWER.DONE);
  courier.unreachable.add(0);
  t.equal(group.pump(courier, 0), PAUSE.RING);
  courier.unreachable.clear();
  t.equal(group.pump(courier, 0), PAUSE.EMPTY);
  t.match(courier.sent, [{ handle: 3, text: "waits" }]);
  t.end();
});

void t.test("a window is full by bytes too, and QoS 0 needs none", (t) => {
  const { group, courier, give } = groupOf(1, 1);
  const large = "x".repeat(SHARED_MEMBER_BYTES_MAX);
  t.ok(give(large, 1), "one that is larger than the window is given all the same");
  t.equal(group.assignedCount, 1);
  give("next", 1);
  t.equal(group.queueCount, 1);
  t.equal(group.pick(0, 10, courier)?.handle, 1);
  t.end();
});

void t.test("QoS 1 to a member with QoS 0 is sent and forgotten; much of it does not go in one turn", (t) => {
  const { group, courier } = groupOf(0);
  group.put(0, 1, AWAY);
  for (let i = 0; i < 50; i++) t.ok(group.push(message("x".repeat(10_000), 1), 100, 1_000_000));
  group.remove(0, 1);
  group.put(0, 2, open(0));
  t.equal(group.pump(courier, 0), PAUSE.TURN);
  const first = courier.sent.length;
  t.ok(first > 5 && first < 20, `${String(first)} in the first turn`);
  for (let turn = 0; turn < 10; turn++) group.pump(courier, 0);
  t.equal(courier.sent.length, 50);
  t.ok(courier.sent.every(({ sequence }) => sequence === 0));
  t.equal(group.assignedCount, 0);
  t.end();
});

void t.test("what comes back goes to another member, before what came later", (t) => {
  const { group, courier, give } = groupOf(2, 1, 2);
  for (const text of ["a", "b", "c", "d", "e"]) give(text, 1);
  const [first, second, third] = courier.take();
  t.match([first, third], [{ handle: 1, text: "a" }, { handle: 1, text: "c" }]);
  group.remove(1, 1);
  t.ok(group.answer(1, third!.sequence, ANSWER.RETURNED));
  t.ok(group.answer(1, first!.sequence, ANSWER.RETURNED));
  t.equal(group.queueCount, 3);
  group.answer(2, second!.sequence, ANSWER.DONE);
  group.pump(courier, 0);
  t.match(courier.take(), [{ handle: 2, text: "a" }]);
  group.put(0, 3, open(1));
  group.pump(courier, 0);
  t.match(courier.take(), [{ handle: 3, text: "c" }, { handle: 3, text: "e" }]);
  t.end();
});

void t.test("an answer counts once, and from the shard that has the message", (t) => {
  const { group, courier, give } = groupOf(1, 1);
  give("a", 1);
  const { sequence } = courier.sent[0]!;
  t.notOk(group.answer(2, sequence, ANSWER.RETURNED), "another shard's");
  t.equal(group.assignedCount, 1);
  t.ok(group.answer(1, sequence, ANSWER.RETURNED));
  t.notOk(group.answer(1, sequence, ANSWER.RETURNED), "again");
  t.same([group.assignedCount, group.queueCount], [0, 1]);
  t.notOk(group.answer(1, 99, ANSWER.DONE), "never given");
  t.end();
});

void t.test("the shard of a member dies: once its successor has spoken QoS 1 goes to others, QoS 2 to nobody, and a member that is announced again is one still", (t) => {
  const { group, courier, give } = groupOf(2, 2);
  for (const [i, text] of ["a", "b", "c", "d"].entries()) give(text, i < 2 ? 1 : 2);
  group.lose(1);
  t.same(courier.take().length, 4);
  group.pump(courier, 0);
  t.same(courier.take(), []);
  t.equal(group.memberCount, 2, "it may come back");
  group.put(1, 7, open(2));
  t.equal(group.removeLost(1), 1);
  group.pump(courier, 0);
  t.match(courier.take(), [{ handle: 7, text: "a" }]);
  t.equal(group.memberCount, 2);
  t.equal(group.removeLost(1), 0);
  give("e", 1);
  give("f", 1);
  t.same(handlesOf(courier.take()).sort(), [2, 7]);
  t.end();
});

void t.test("what sessions that are kept hold after their shard died is theirs; what did not come so far goes to others, with QoS 2 too", (t) => {
  const group = new SharedGroup(1, "$share/g/t", "t");
  const courier = new TestCourier();
  group.put(1, 1, open(2, 100, true));
  const messages = ["a", "b", "c", "d"].map((text, i) => message(text, 1 + (i % 2), Number.POSITIVE_INFINITY, i + 1));
  for (const one of messages) group.push(one, COUNT_MAX, BYTES_MAX);
  group.pump(courier, 0);
  t.equal(courier.take().length, 4);
  group.lose(1);
  group.held(1, new Set([messages[0]!.id, messages[3]!.id]));
  group.put(1, 2, open(2, 100, true));
  t.equal(group.removeLost(1), 0);
  group.pump(courier, 0);
  t.match(courier.take(), [{ handle: 2, text: "b" }, { handle: 2, text: "c" }]);
  t.equal(group.assignedCount, 4);
  t.same(group.heldAreDone(1, new Set([messages[0]!.id])), [messages[0]!.id]);
  t.same(group.heldAreDone(1, new Set([messages[0]!.id])), [], "once");
  t.same(group.heldAreDone(1, new Set([messages[1]!.id])), [], "given anew");
  t.ok(group.takeBack(messages[3]!), "what is held can come back");
  group.pump(courier, 0);
  t.match(courier.take(), [{ handle: 2, text: "d" }]);
  group.lose(1);
  group.removeLost(1);
  t.same([group.assignedCount, group.queueCount], [0, 3], "its shard died again, and does not speak of it");
  t.end();
});

void t.test("what is restored keeps its order, what comes back from before goes in front of it, and what is there already is not taken twice", (t) => {
  const group = new SharedGroup(1, "$share/g/t", "t");
  const courier = new TestCourier();
  const [one, two, three, four] = ["one", "two", "three", "four"].map((text, i) => message(text, 1, Number.POSITIVE_INFINITY, i + 1));
  group.restore([three!, four!, two!], new Set([two!.id]));
  t.ok(group.takeBack(one!));
  t.notOk(group.takeBack(four!));
  t.same([group.queueCount, [...group.unanswered()].length], [4, 4]);
  group.put(0, 1, open(1));
  group.pump(courier, 0);
  t.same(courier.take().map(({ text }) => text), ["one", "two", "three", "four"]);
  t.notOk(group.takeBack(two!), "given again");
  t.end();
});

void t.test("the queue is bounded by count and by bytes; one message is always taken", (t) => {
  const { group, courier } = groupOf(0);
  group.put(0, 1, AWAY);
  for (let i = 0; i < COUNT_MAX; i++) t.ok(group.push(message("x", 1), COUNT_MAX, BYTES_MAX));
  t.notOk(group.push(message("x", 1), COUNT_MAX, BYTES_MAX));
  group.put(0, 1, open(1));
  group.pump(courier, 0);
  group.put(0, 1, AWAY);
  t.equal(group.queueSize, 0);
  t.ok(group.push(message("x".repeat(2 * BYTES_MAX), 1), COUNT_MAX, BYTES_MAX));
  t.notOk(group.push(message("x", 1), COUNT_MAX, BYTES_MAX));
  t.end();
});

void t.test("what expires while it waits is passed over", (t) => {
  const { group, courier } = groupOf(0);
  group.put(0, 1, AWAY);
  group.push(message("short", 1, 1000), COUNT_MAX, BYTES_MAX);
  group.push(message("long", 1, 5000), COUNT_MAX, BYTES_MAX);
  group.put(0, 1, open(1));
  group.pump(courier, 1000);
  t.match(courier.sent, [{ text: "long" }]);
  t.equal(courier.expiredCount, 1);
  t.end();
});

void t.test("groups are found by name and by number, and a number is not used again", (t) => {
  const groups = new SharedGroups();
  const one = groups.add("$share/a/t", "t");
  t.equal(groups.get("$share/a/t"), one);
  t.equal(groups.byId(one.id), one);
  groups.remove(one);
  t.equal(groups.get("$share/a/t"), undefined);
  t.not(groups.add("$share/a/t", "t").id, one.id);
  t.equal(groups.count, 1);
  t.end();
});

void t.test("whatever the order of things, a message is in one place, and windows and sums agree", (t) => {
  const seed = Number(process.env["PENSTOCK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`PENSTOCK_SEED=${String(seed)}`);
  const random = new Random(seed);
  const { group, courier } = groupOf(0);
  const held = new Map<number, { readonly shard: number; readonly text: string }>();
  const waiting = new Set<string>();
  const gone = new Set<string>();
  let count = 0;
  for (let step = 0; step < 20_000; step++) {
    const handle = 1 + random.below(6);
    const shard = handle % 3;
    const dice = random.below(100);
    if (dice < 40) {
      const text = `m${String(++count)}`;
      if (group.push(message(text, 1 + random.below(2)), 200, 1_000_000)) waiting.add(text);
    } else if (dice < 50) group.put(shard, handle, { qos: random.below(3), window: 1 + random.below(5), isOpen: random.chance(70), isKept: random.chance(50) });
    else if (dice < 53) group.remove(shard, handle);
    else if (dice < 54) {
      const before = group.assignedCount;
      group.lose(shard);
      t.equal(group.assignedCount, before);
      const abandoned = group.removeLost(shard);
      // What members have that left before is lost with them.
      const lost = [...held].filter(([, one]) => one.shard === shard);
      t.equal(before - group.assignedCount, lost.length);
      t.ok(abandoned <= lost.length);
      for (const [sequence, { text }] of lost) {
        held.delete(sequence);
        waiting.add(text);
      }
    } else if (held.size > 0) {
      const [sequence, one] = random.pick([...held]);
      const isReturned = random.chance(30);
      t.equal(group.answer(one.shard, sequence, isReturned ? ANSWER.RETURNED : ANSWER.DONE)?.sequence, sequence);
      held.delete(sequence);
      (isReturned ? waiting : gone).add(one.text);
    }
    if (random.chance(60)) group.pump(courier, 0);
    for (const { handle, sequence, text } of courier.take()) {
      t.ok(waiting.delete(text) && !gone.has(text), `${text} was waiting`);
      if (sequence === 0) gone.add(text);
      else held.set(sequence, { shard: handle % 3, text });
    }
    if (group.assignedCount !== held.size) t.fail(`step ${String(step)}: ${String(group.assignedCount)} assigned, ${String(held.size)} held`);
  }
  t.ok(gone.size > 1000, `${String(gone.size)} came to their end`);
  t.end();
});
