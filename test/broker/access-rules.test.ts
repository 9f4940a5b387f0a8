// Access rules: which topics and filters they allow to whom, against a plain evaluation of the same rules.
import t from "tap";
import { ACCESS, ACCESS_ALL, type AccessRule, type AccessRuleSet } from "../../src/base/access.js";
import { ANONYMOUS, type Identity } from "../../src/base/identity.js";
import { type Access, AccessRules, REACH } from "../../src/broker/access-rules.js";
import { matches } from "../../src/broker/topic.js";
import { randomOf } from "../protocol/mqtt/support.js";

const WRITE = ACCESS.PUBLISH | ACCESS.RETAIN;
const ANNA: Identity = { user: "anna", groups: ["staff"] };

function rule(isAllow: boolean, actions: number, topics: string | readonly string[], more: Partial<AccessRule> = {}): AccessRule {
  return { isAllow, actions, topics: typeof topics === "string" ? [topics] : topics, users: null, groups: null, clients: null, anonymous: null, ...more };
}

function set(isDefaultAllow: boolean, rules: readonly AccessRule[], groupsOf: AccessRuleSet["groupsOf"] = {}): AccessRuleSet {
  return { isDefaultAllow, groupsOf, rules };
}

function accessOf(rules: AccessRuleSet, identity: Identity = ANONYMOUS, clientId = "c1"): Access {
  return new AccessRules(rules).of(identity, clientId);
}

t.test("without rules everything is allowed, and nothing is restricted", async (t) => {
  const rules = new AccessRules(null);
  t.notOk(rules.restrictsPublishing || rules.restrictsReading);
  t.equal(rules.of(ANONYMOUS, "c").publishing("a/b"), WRITE);
  t.equal(rules.of(ANONYMOUS, "c").reachOf("#"), REACH.ALL);
});

t.test("rules that only allow, over a default that allows, restrict nothing; a rule that denies only what it denies", async (t) => {
  t.match(new AccessRules(set(true, [rule(true, ACCESS_ALL, "a/#")])), { restrictsPublishing: false, restrictsReading: false });
  t.match(new AccessRules(set(true, [rule(false, ACCESS.SUBSCRIBE, "a/#")])), { restrictsPublishing: false, restrictsReading: true });
  t.match(new AccessRules(set(true, [rule(false, ACCESS.RETAIN, "a/#")])), { restrictsPublishing: true, restrictsReading: false });
  t.match(new AccessRules(set(false, [])), { restrictsPublishing: true, restrictsReading: true });
});

t.test("the first rule that matches decides, each action for itself", async (t) => {
  const access = accessOf(set(false, [rule(false, ACCESS.RETAIN, "a/b"), rule(true, WRITE, "a/+"), rule(false, ACCESS.PUBLISH, "a/b")]));
  t.equal(access.publishing("a/b"), ACCESS.PUBLISH, "retained is denied by the first, plain allowed by the second");
  t.equal(access.publishing("a/c"), WRITE);
  t.equal(access.publishing("b"), 0);
  t.notOk(access.mayRead("a/c"), "publishing is not reading");
});

t.test("users, groups of authentication, groups of the file, client ids, anonymous", async (t) => {
  const rules = set(false, [
    rule(true, ACCESS.PUBLISH, "user", { users: ["anna"] }),
    rule(true, ACCESS.PUBLISH, "group", { groups: ["staff"] }),
    rule(true, ACCESS.PUBLISH, "own", { groups: ["own"] }),
    rule(true, ACCESS.PUBLISH, "either", { users: ["zoe"], groups: ["staff"] }),
    rule(true, ACCESS.PUBLISH, "client", { clients: ["c1"] }),
    rule(true, ACCESS.PUBLISH, "both", { users: ["anna"], clients: ["c2"] }),
    rule(true, ACCESS.PUBLISH, "nobody", { anonymous: true }),
    rule(true, ACCESS.PUBLISH, "somebody", { anonymous: false }),
  ], { anna: ["own"] });
  const topics = rules.rules.map(({ topics }) => topics[0]!);
  const allowed = (identity: Identity, clientId: string): string[] => topics.filter((topic) => accessOf(rules, identity, clientId).publishing(topic) === ACCESS.PUBLISH);
  t.same(allowed(ANNA, "c1"), ["user", "group", "own", "either", "client", "somebody"]);
  t.same(allowed(ANNA, "c2"), ["user", "group", "own", "either", "both", "somebody"]);
  t.same(allowed(ANONYMOUS, "c1"), ["client", "nobody"]);
  t.same(allowed({ user: "", groups: ["staff"] }, "c3"), ["nobody"], "groups need a user");
  t.same(allowed({ user: "constructor", groups: [] }, "toString"), ["somebody"], "names of JavaScript are names like others");
});

t.test("%c and %u stand for the client's names, also within a level", async (t) => {
  const access = accessOf(set(false, [rule(true, ACCESS_ALL, ["devices/%c/#", "users/%u/+", "x-%u-%c"])]), ANNA, "d1");
  for (const topic of ["devices/d1/telemetry", "devices/d1", "users/anna/a", "x-anna-d1"]) t.equal(access.publishing(topic), WRITE, topic);
  for (const topic of ["devices/d2/telemetry", "devices/%c/a", "users/anna", "users/zoe/a", "x-d1-anna"]) t.equal(access.publishing(topic), 0, topic);
  t.equal(access.reachOf("devices/d1/#"), REACH.ALL);
  t.equal(access.reachOf("devices/+/#"), REACH.SOME);
  t.equal(access.reachOf("devices/d2/#"), REACH.NONE);
});

t.test("names with wildcards or slashes widen nothing, and escape no rule that denies", async (t) => {
  for (const name of ["+", "#", "a/b", "a/#", "x+y", "/"]) {
    const rules = set(false, [rule(true, ACCESS_ALL, ["c/%c/t", "u/%u/t", "c/%c/#"])]);
    const access = accessOf(rules, { user: name, groups: [] }, name);
    for (const topic of ["c/a/t", `c/${name}/t`, "c/a/b/t", "u/a/t", `u/${name}/t`, "c//t"]) t.equal(access.publishing(topic), 0, `${name} on ${topic}`);
    for (const filter of ["c/+/t", `c/${name}/t`, "c/#", "#", "u/+/t"]) t.equal(access.reachOf(filter), REACH.NONE, `${name} on ${filter}`);
    const denied = accessOf(set(true, [rule(false, ACCESS_ALL, ["c/%c/private"])]), ANONYMOUS, name);
    t.equal(denied.publishing(`c/${name}/private`), 0, `${name} is denied its own topic`);
    t.equal(denied.publishing("d/x"), WRITE);
  }
  const user = accessOf(set(false, [rule(true, WRITE, "u/%u")]), { user: "%c", groups: [] }, "d1");
  t.equal(user.publishing("u/d1"), 0, "a user named %c is not the client");
  t.equal(user.publishing("u/%c"), WRITE);
});

t.test("a client without a user has no %u topics, neither allowed nor denied", async (t) => {
  t.equal(accessOf(set(false, [rule(true, WRITE, "u/%u/t")])).publishing("u//t"), 0);
  t.equal(accessOf(set(true, [rule(false, WRITE, "u/%u/t")])).publishing("u//t"), WRITE);
});

t.test("a wildcard in front does not stand for topics that begin with $ [MQTT-4.7.2-1]", async (t) => {
  const access = accessOf(set(false, [rule(true, ACCESS_ALL, "#")]));
  t.notOk(access.mayRead("$SYS/broker/uptime"));
  t.equal(access.reachOf("$SYS/#"), REACH.NONE);
  t.equal(access.reachOf("#"), REACH.ALL);
  t.ok(accessOf(set(false, [rule(true, ACCESS_ALL, "$SYS/#")])).mayRead("$SYS/broker/uptime"));
});

t.test("a filter's reach: all, some, none", async (t) => {
  const access = accessOf(set(false, [rule(false, ACCESS.SUBSCRIBE, "a/secret/#"), rule(true, ACCESS.SUBSCRIBE, "a/#"), rule(true, ACCESS.SUBSCRIBE, "b/+/c")]));
  const expected: readonly (readonly [string, number])[] = [
    ["a/x", REACH.ALL], ["a/secret", REACH.NONE], ["a/secret/+", REACH.NONE], ["a/#", REACH.SOME], ["a/+", REACH.SOME], ["#", REACH.SOME], ["+", REACH.SOME],
    ["b/x/c", REACH.ALL], ["b/+/c", REACH.ALL], ["b/#", REACH.SOME], ["b/x", REACH.NONE], ["c", REACH.NONE], ["c/#", REACH.NONE], ["+/x/c", REACH.SOME],
  ];
  for (const [filter, reach] of expected) t.equal(access.reachOf(filter), reach, filter);
});

t.test("reach agrees with the verdicts on single topics, for random rules and filters", async (t) => {
  const random = randomOf(t);
  const words = ["a", "b", "$s", ""];
  const topics: string[] = [];
  for (const one of words) for (const two of [...words, null]) for (const three of two === null ? [null] : [...words, null]) topics.push([one, two, three].filter((level) => level !== null).join("/"));
  const filter = (): string => {
    const levels = Array.from({ length: 1 + random.below(3) }, () => (random.chance(30) ? "+" : random.pick(words)));
    if (random.chance(30)) levels[levels.length - 1] = "#";
    return levels.join("/");
  };
  let checked = 0;
  let partly = 0;
  for (let round = 0; round < 3000; round++) {
    const rules = set(random.chance(50), Array.from({ length: random.below(4) }, () => rule(random.chance(50), ACCESS.SUBSCRIBE, filter())));
    const access = accessOf(rules);
    const asked = filter();
    const reach = access.reachOf(asked);
    for (const topic of topics) {
      const first = rules.rules.find((one) => matches(one.topics[0]!, topic));
      const expected = first?.isAllow ?? rules.isDefaultAllow;
      if (access.mayRead(topic) !== expected) t.fail(`${topic} under ${JSON.stringify(rules)}`);
      if (!matches(asked, topic)) continue;
      checked++;
      if (reach === REACH.SOME) partly++;
      else if (expected !== (reach === REACH.ALL)) t.fail(`${asked} has reach ${String(reach)}, ${topic} is ${String(expected)}, under ${JSON.stringify(rules)}`);
    }
  }
  t.ok(checked > 5000 && partly > 100 && partly < checked / 2, `${String(checked)} topics, ${String(partly)} under filters allowed in part`);
});

t.test("the rules of 10,000 users cost one client only its own", async (t) => {
  const many = Array.from({ length: 10_000 }, (_, i) => rule(true, ACCESS_ALL, `users/${String(i)}/#`, { users: [`u${String(i)}`] }));
  const rules = new AccessRules(set(false, many));
  const access = rules.of({ user: "u77", groups: [] }, "c") as unknown as { writing: readonly unknown[] };
  t.equal(access.writing.length, 1);
});
