// The password file: its form, what is refused, how `penstock passwd` changes it, and that a change is seen.
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { LiveFile } from "../../src/security/live-file.js";
import { headLine, parsePasswords, type PasswordTable } from "../../src/security/password-file.js";
import { readPrivateFile } from "../../src/security/private-file.js";
import { deleteUser, listUsers, setUser } from "../../src/security/passwd.js";
import { hashOfNobody, hashPassword, isPasswordOf, parseHash } from "../../src/security/scrypt.js";
import { Lines } from "../control/supervisor-fixture.js";

const root = mkdtempSync(join(tmpdir(), "penstock-passwords-"));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const HEAD = headLine(Buffer.alloc(32, 7));

t.test("a hash checks its own password and no other, and names its parameters", async (t) => {
  const text = await hashPassword(Buffer.from("geheim"));
  t.match(text, /^\$scrypt\$ln=14,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
  t.not(text, await hashPassword(Buffer.from("geheim")), "a salt each");
  const hash = parseHash(text)!;
  t.equal(await isPasswordOf(hash, Buffer.from("geheim")), true);
  t.equal(await isPasswordOf(hash, Buffer.from("Geheim")), false);
  t.equal(await isPasswordOf(hashOfNobody(), Buffer.from("geheim")), false);
});

t.test("the test vector of RFC 7914 §12 is checked right", async (t) => {
  const expected = Buffer.from("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640", "hex");
  const hash = parseHash(`$scrypt$ln=10,r=8,p=16$TmFDbE5hQ2w$${expected.toString("base64").replace(/=+$/, "")}`);
  t.ok(hash, "the salt of eight bytes is taken");
  // The vector's salt is "NaCl" alone, which is too short to be taken from a file.
  t.equal(await isPasswordOf({ ...hash!, salt: Buffer.from("NaCl") }, Buffer.from("password")), true);
});

t.test("hashes that are none, or that would take too much memory, are refused", async (t) => {
  const good = await hashPassword(Buffer.from("x"));
  for (const bad of ["", good.slice(1), good.replace("ln=14", "ln=9"), good.replace("ln=14", "ln=21"), good.replace("ln=14,r=8", "ln=20,r=9"), good.replace("p=1", "p=17"), good.replace("r=8", "r=0"), good.slice(0, -40)]) {
    t.equal(parseHash(bad), null, bad);
  }
});

t.test("what is wrong in a file is named with its line, and what to do", async (t) => {
  const user = (more: object): string => `${HEAD}\n${JSON.stringify(more)}\n`;
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /is empty/],
    ["alice:x\n", /line 1 is no JSON object.*penstock passwd/],
    ['{"user":"a"}\n', /line 1 says format undefined/],
    ['{"format":2,"secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAA"}', /format 2; this version knows 1/],
    ['{"format":1,"secret":"AAAA"}', /no secret of at least 16 bytes/],
    [`${HEAD}\n[]\n`, /line 2 is no JSON object/],
    [user({ groups: [] }), /line 2 names no user/],
    [user({ user: "a", groups: "b" }), /groups is no list/],
    [user({ user: "a", scrypt: "x" }), /line 2: scrypt is no hash/],
    [user({ user: "a", scram: "x" }), /line 2: scram is no set of keys/],
    [user({ user: "a", admin: true }), /"admin" is not known/],
    [`${HEAD}\n{"user":"a"}\n\n{"user":"a"}\n`, /line 4: the user "a" stands twice/],
  ];
  for (const [text, wanted] of cases) t.throws(() => parsePasswords("f", text), { code: "AUTH_FILE_BAD", message: wanted }, String(wanted));
  t.same([...parsePasswords("f", `${HEAD}\n{"user":"a","groups":["g"]}\n`).users.values()].map(({ user, groups }) => ({ user, groups })), [{ user: "a", groups: ["g"] }]);
});

t.test("passwd sets, keeps groups unless told, lists and deletes; the file is private", async (t) => {
  const path = join(root, "deep", "passwords");
  t.same(listUsers(path), []);
  t.equal(deleteUser(path, "alice"), false);
  t.equal(await setUser(path, { user: "alice", password: "one", groups: ["ops", "dev"], scramIterations: 4096 }), true);
  const before = parsePasswords(path, readFileSync(path, "utf8"));
  t.equal(await setUser(path, { user: "alice", password: "two", groups: undefined, scramIterations: 0 }), false);
  t.equal(await setUser(path, { user: "Bj\u00f6rn: \"x\"", password: undefined, groups: ["ops"], scramIterations: 4096 }), true);
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.notOk(existsSync(`${path}.new`));
  t.same(listUsers(path), [
    { user: "alice", groups: ["ops", "dev"], hasPassword: true, hasScram: false },
    { user: "Bj\u00f6rn: \"x\"", groups: ["ops"], hasPassword: false, hasScram: false },
  ]);
  const after = parsePasswords(path, readFileSync(path, "utf8"));
  t.same(after.secret, before.secret, "made-up salts stay as they were");
  t.equal(await isPasswordOf(after.users.get("alice")!.scrypt!, Buffer.from("two")), true);
  t.equal(await isPasswordOf(after.users.get("alice")!.scrypt!, Buffer.from("one")), false);
  t.equal(deleteUser(path, "alice"), true);
  t.equal(deleteUser(path, "alice"), false);
  t.same(listUsers(path).map(({ user }) => user), ["Bj\u00f6rn: \"x\""]);
});

t.test("passwd refuses empty names and passwords, a second one at work, and a file that others can read", async (t) => {
  const path = join(root, "busy");
  const wanted = { user: "a", password: "p", groups: undefined, scramIterations: 0 };
  await t.rejects(setUser(path, { ...wanted, user: "" }), { code: "AUTH_FILE_BAD" });
  await t.rejects(setUser(path, { ...wanted, password: "" }), { code: "AUTH_FILE_BAD" });
  await t.rejects(setUser(path, { ...wanted, password: "a\u0007", scramIterations: 4096 }), { message: /--no-scram/ });
  writeFileSync(`${path}.new`, "");
  await t.rejects(setUser(path, wanted), { message: /another `penstock passwd` runs/ });
  rmSync(`${path}.new`);
  await setUser(path, wanted);
  const whole = readFileSync(path, "utf8");
  chmodSync(path, 0o640);
  await t.rejects(setUser(path, wanted), { message: /chmod 600/ });
  t.equal(readFileSync(path, "utf8"), whole);
  t.notOk(existsSync(`${path}.new`), "and it leaves no lock behind");
});

t.test("files with secrets are read only when they are private", async (t) => {
  const path = join(root, "secret");
  writeFileSync(path, "x", { mode: 0o600 });
  t.equal(readPrivateFile(path).toString(), "x");
  for (const [mode, wanted] of [[0o640, /read by its group \(mode 640\).*chmod 600/], [0o604, /read by other users/], [0o620, /changed by its group/], [0o611, /changed by other users/]] as const) {
    chmodSync(path, mode);
    t.throws(() => readPrivateFile(path), { code: "AUTH_FILE_BAD", message: wanted });
  }
  t.throws(() => readPrivateFile(join(root, "none")), { message: /cannot be read \(ENOENT\)/ });
});

t.test("a changed file is taken over when it is whole; one that is gone holds nobody", async (t) => {
  const path = join(root, "live");
  const { log, texts } = lines();
  let changes = 0;
  const read = (): PasswordTable => parsePasswords(path, readPrivateFile(path).toString());
  const file = new LiveFile<PasswordTable>({ paths: [path], read, absent: { users: new Map(), secret: Buffer.alloc(0) }, log, refusal: "it cannot be used", apply: () => changes++ });
  t.teardown(() => file.close());
  const look = (): void => {
    file.look();
    file.look();
  };
  t.equal(file.current.users.size, 0);
  await setUser(path, { user: "a", password: undefined, groups: [], scramIterations: 0 });
  look();
  t.same([...file.current.users.keys()], ["a"]);
  t.equal(changes, 1);
  look();
  t.equal(changes, 1, "what has not changed is not read");
  writeFileSync(path, `${HEAD}\nrubbish\n`);
  look();
  t.same([...file.current.users.keys()], ["a"], "the old one stays in force");
  t.match(texts().at(-1), /cannot be used.*line 2/);
  rmSync(path);
  look();
  t.equal(file.current.users.size, 0);
  writeFileSync(path, "rubbish", { mode: 0o600 });
  const late = new LiveFile<PasswordTable | null>({ paths: [path], read, absent: null, log, refusal: "it cannot be used", apply: () => undefined });
  t.teardown(() => late.close());
  t.equal(late.current, null, "one that cannot be used at all holds nobody");
  t.match(texts().at(-1), /cannot be used/);
});

function lines(): { readonly log: Lines["log"]; readonly texts: () => readonly string[] } {
  const kept = new Lines();
  return { log: kept.log, texts: () => kept.all.map((line) => line.text) };
}
