// The proof of the crash test can fail: each thing that it must notice, planted into notebooks.
import t from "tap";
import { Proof } from "./proof.js";

const PUBLISHER = ["P 1 0 1 0 t/a", "P 2 1 2 0 t/a", "A 1", "P 3 2 1 0 t/a", "R 2", "P 4 3 2 0 u", "A 4"];
const SUBSCRIBER = ["K 0", "S 2 t/#", "S 1 t/+", "M 1 1 p 0 1 t/a", "M 2 2 p 1 2 t/a", "M 3 1 p 2 1 t/a"];

function faultsOf(notebooks: Readonly<Record<string, readonly string[]>>): readonly string[] {
  return new Proof(Object.entries({ p: PUBLISHER, ...notebooks }).map(([name, lines]) => ({ name, lines: lines.map((line) => line.split(" ")) }))).faults;
}

function without(lines: readonly string[], line: string): string[] {
  return lines.filter((one) => one !== line);
}

t.test("the proof accepts what a gateway may do", async (t) => {
  t.same(faultsOf({ s: SUBSCRIBER }), []);
  t.same(faultsOf({ s: without(SUBSCRIBER, "M 3 1 p 2 1 t/a") }), [], "a message that was not acknowledged may be lost");
  t.same(faultsOf({ s: [...SUBSCRIBER, "M 4 1 p 0 1 t/a"] }), [], "QoS 1 may come twice");
  t.same(faultsOf({ s: ["S 1 #", "M 2 1 p 1 2 t/a", "M 1 1 p 0 1 t/a", "M 3 1 p 3 2 u"] }), [], "QoS 1 and QoS 2 of a publisher have an order each");
  t.same(faultsOf({ a: ["S 2 $share/g/t/#", "M 2 2 p 1 2 t/a"], b: ["S 2 $share/g/t/#", "M 1 1 p 2 1 t/a", "M 1 1 p 0 1 t/a"] }), [], "a group gets each message once, in any order");
});

t.test("the proof counts what is owed, accepted and delivered", async (t) => {
  const proof = new Proof([{ name: "p", lines: PUBLISHER.map((line) => line.split(" ")) }, { name: "s", lines: SUBSCRIBER.map((line) => line.split(" ")) }]);
  t.same([proof.owedTo("s"), proof.owedTo("p"), proof.accepted, proof.delivered], [3, 0, 3, 3]);
  t.same(new Proof([{ name: "p", lines: ["P 1 0 1 1 r/1", "P 2 1 1 1 r/1", "P 3 2 1 0 t"].map((line) => line.split(" ")) }]).retained, new Map([["r/1", 1]]));
});

for (const [name, notebooks, fault] of [
  ["an acknowledged QoS 1 message is missing", { s: without(SUBSCRIBER, "M 1 1 p 0 1 t/a") }, "s: acknowledged and lost: 1: p 0 on t/a QoS 1"],
  ["a QoS 2 message with a PUBREC is missing", { s: without(SUBSCRIBER, "M 2 2 p 1 2 t/a") }, "s: acknowledged and lost: 1: p 1 on t/a QoS 2"],
  ["a QoS 2 message came twice", { s: [...SUBSCRIBER, "M 7 2 p 1 2 t/a"] }, "s: QoS 2 twice: 1: p 1"],
  ["QoS 1 of a publisher and topic is out of order", { s: ["S 2 t/#", "M 3 1 p 2 1 t/a", "M 1 1 p 0 1 t/a", "M 2 2 p 1 2 t/a"] }, "s: out of order: 1: p 0 on t/a after 2"],
  ["a message was never published", { s: [...SUBSCRIBER, "M 9 1 p 9 1 t/a"] }, "s: what nobody sent or not so: 1: p 9 on t/a was never published"],
  ["a message came by another QoS", { s: SUBSCRIBER.map((line) => (line === "M 1 1 p 0 1 t/a" ? "M 1 2 p 0 1 t/a" : line)) }, "s: what nobody sent or not so: 1: p 0 on t/a came with QoS 2"],
  ["a message came that was not subscribed to", { s: [...SUBSCRIBER, "M 9 2 p 3 2 u"] }, "s: what nobody sent or not so: 1: p 3 on u came with QoS 2"],
  ["a client has complained", { s: [...SUBSCRIBER, "E the session is gone"] }, "s: the session is gone"],
  ["no member of a group got an acknowledged message", { a: ["S 2 $share/g/t/#", "M 2 2 p 1 2 t/a"], b: ["S 2 $share/g/t/#"] }, "g: acknowledged and lost: 1: p 0 on t/a QoS 1"],
  ["two members of a group got a QoS 2 message", { a: ["S 2 $share/g/t/#", "M 1 1 p 0 1 t/a", "M 2 2 p 1 2 t/a"], b: ["S 2 $share/g/t/#", "M 5 2 p 1 2 t/a"] }, "g: QoS 2 twice: 1: p 1"],
] as const) {
  t.test(`the proof notices: ${name}`, async (t) => t.same(faultsOf(notebooks), [fault]));
}
