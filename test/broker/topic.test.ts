import t from "tap";
import { depthOf, matches, parseFilter, isSystemTopic } from "../../src/broker/topic.js";

const ACCEPTED: readonly (readonly [text: string, group: string, filter: string])[] = [
  ["a", "", "a"],
  ["/", "", "/"],
  ["#", "", "#"],
  ["+", "", "+"],
  ["+/+/#", "", "+/+/#"],
  ["a/+/b", "", "a/+/b"],
  ["/+", "", "/+"],
  ["$SYS/#", "", "$SYS/#"],
  ["$shared/a", "", "$shared/a"],
  ["$share", "", "$share"],
  ["a b/ü", "", "a b/ü"],
  ["$share/g/a/+", "g", "a/+"],
  ["$share/g//", "g", "/"],
  ["$share/g/#", "g", "#"],
  ["$share/g/1/2/3/4/5", "g", "1/2/3/4/5"],
];

for (const [text, group, filter] of ACCEPTED) {
  t.test(`a filter is accepted: ${text}`, (t) => {
    t.same(parseFilter(text, 5, 30), { group, filter });
    t.end();
  });
}

const REFUSED: readonly (readonly [text: string, fault: string])[] = [
  ["", "empty"],
  ["x".repeat(31), "too-long"],
  ["1/2/3/4/5/6", "too-deep"],
  ["$share/g/1/2/3/4/5/6", "too-deep"],
  ["a\0b", "null-character"],
  ["a#", "misplaced-wildcard"],
  ["#/a", "misplaced-wildcard"],
  ["a/#/b", "misplaced-wildcard"],
  ["a/#b", "misplaced-wildcard"],
  ["a+", "misplaced-wildcard"],
  ["+a", "misplaced-wildcard"],
  ["a/b+/c", "misplaced-wildcard"],
  ["##", "misplaced-wildcard"],
  ["$share/g/a#", "misplaced-wildcard"],
  ["$share/", "bad-share"],
  ["$share/g", "bad-share"],
  ["$share/g/", "bad-share"],
  ["$share//a", "bad-share"],
  ["$share/+/a", "bad-share"],
  ["$share/g#/a", "bad-share"],
];

for (const [text, fault] of REFUSED) {
  t.test(`a filter is refused as ${fault}: ${JSON.stringify(text)}`, (t) => {
    t.equal(parseFilter(text, 5, 30), fault);
    t.end();
  });
}

t.test("depth counts levels, empty ones too", (t) => {
  t.equal(depthOf("a"), 1);
  t.equal(depthOf("/"), 2);
  t.equal(depthOf("a//b/"), 4);
  t.end();
});

// The examples of MQTT 5 §4.7.
const MATCHES: readonly (readonly [filter: string, topics: readonly string[], others: readonly string[]])[] = [
  ["sport/tennis/player1/#", ["sport/tennis/player1", "sport/tennis/player1/ranking", "sport/tennis/player1/score/wimbledon"], ["sport/tennis/player2", "sport/tennis"]],
  ["sport/#", ["sport", "sport/a"], ["sports", "spor"]],
  ["#", ["a", "a/b", "/", "/a"], ["$SYS", "$SYS/a"]],
  ["sport/tennis/+", ["sport/tennis/player1", "sport/tennis/"], ["sport/tennis/player1/ranking", "sport/tennis"]],
  ["+", ["a"], ["/a", "a/", "$a"]],
  ["+/+", ["/finance", "a/b"], ["a", "$a/b"]],
  ["/+", ["/finance", "/"], ["finance", "/a/b"]],
  ["+/monitor/Clients", ["a/monitor/Clients"], ["$SYS/monitor/Clients", "a/monitor/clients"]],
  ["$SYS/#", ["$SYS", "$SYS/a/b"], ["SYS/a"]],
  ["$SYS/monitor/+", ["$SYS/monitor/Clients"], ["$SYS/monitor"]],
  ["a/+/c/#", ["a/b/c", "a//c/d", "a/$b/c"], ["a/c", "a/b/d/c"]],
];

for (const [filter, topics, others] of MATCHES) {
  t.test(`${filter} matches what §4.7 says`, (t) => {
    for (const topic of topics) t.ok(matches(filter, topic), topic);
    for (const topic of others) t.notOk(matches(filter, topic), topic);
    t.end();
  });
}

t.test("$SYS belongs to the gateway, but for the state that a mosquitto bridge tells", (t) => {
  for (const topic of ["$SYS", "$SYS/", "$SYS/broker/version", "$SYS/broker/connection/a/b/state", "$SYS/broker/connection/a/state/x"]) t.equal(isSystemTopic(topic), true, topic);
  for (const topic of ["$SYSTEM/x", "x/$SYS", "$share", "$sys/x", "$SYS/broker/connection/edge/state"]) t.equal(isSystemTopic(topic), false, topic);
  t.end();
});
