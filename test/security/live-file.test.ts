// Files that are read again when they have changed: what counts as a change, and what is waited for. `look` is what happens twice a second.
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { LiveFile } from "../../src/security/live-file.js";
import { Lines } from "../control/supervisor-fixture.js";

interface Live {
  readonly file: LiveFile<string>;
  readonly applied: readonly string[];
  readonly lines: Lines;
  readonly looks: (count: number) => void;
}

/** A live file of text. */
function live(t: Test, paths: readonly string[], held: { readonly absent: string } | { readonly current: string }): Live {
  const applied: string[] = [];
  const lines = new Lines();
  const read = (): string => paths.map((path) => readFileSync(path, "utf8")).join("");
  const file = new LiveFile<string>({ paths, read, apply: (text) => applied.push(text), refusal: "it cannot be used", log: lines.log, ...held });
  t.teardown(() => file.close());
  const looks = (count: number): void => {
    for (let i = 0; i < count; i++) file.look();
  };
  return { file, applied, lines, looks };
}

function folder(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "penstock-live-"));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

t.test("a file that is gone for a moment, or half written, is not acted upon", async (t) => {
  const path = join(folder(t), "passwords");
  writeFileSync(path, "one");
  const { file, applied, looks } = live(t, [path], { absent: "nobody" });
  t.equal(file.current, "one");
  rmSync(path);
  looks(1);
  t.equal(file.current, "one", "some editors and `rm; cp` leave no file for a moment");
  writeFileSync(path, "tw");
  looks(1);
  appendFileSync(path, "o");
  looks(1);
  t.equal(file.current, "one");
  looks(1);
  t.equal(file.current, "two");
  t.same(applied, ["two"]);
  rmSync(path);
  looks(2);
  t.equal(file.current, "nobody", "gone is gone");
});

t.test("links and directories that are put in another's place are followed", async (t) => {
  const root = folder(t);
  for (const name of ["2026", "2027"]) {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, "rules"), name);
  }
  symlinkSync("2026", join(root, "..data"));
  mkdirSync(join(root, "mounted"));
  symlinkSync("../..data/rules", join(root, "mounted", "rules"));
  const mounted = live(t, [join(root, "mounted", "rules")], { current: "2026" });
  const through = live(t, [join(root, "..data", "rules")], { current: "2026" });
  mounted.looks(2);
  symlinkSync("2027", join(root, "next"));
  renameSync(join(root, "next"), join(root, "..data"));
  for (const { file, looks } of [mounted, through]) {
    looks(2);
    t.equal(file.current, "2027");
  }
  mkdirSync(join(root, "new"));
  writeFileSync(join(root, "new", "rules"), "moved here");
  renameSync(join(root, "2027"), join(root, "2028"));
  renameSync(join(root, "new"), join(root, "2027"));
  for (const { file, looks } of [mounted, through]) {
    looks(2);
    t.equal(file.current, "moved here");
  }
});

t.test("what has changed between the reading of others and the first look is seen", async (t) => {
  const path = join(folder(t), "rules");
  writeFileSync(path, "new");
  const { file, applied, looks } = live(t, [path], { current: "old" });
  t.equal(file.current, "old", "who made it has read it already");
  looks(2);
  t.equal(file.current, "new");
  looks(2);
  t.same(applied, ["new"]);
  rmSync(path);
  looks(3);
  t.equal(file.current, "new", "it stays in force");
});

t.test("several files are one: a change of any of them, once they are all still", async (t) => {
  const directory = folder(t);
  const paths = ["certificate", "key"].map((name) => join(directory, name));
  for (const path of paths) writeFileSync(path, "1");
  const { file, applied, looks } = live(t, paths, { current: "11" });
  looks(2);
  for (const path of paths) {
    writeFileSync(path, "22");
    looks(1);
    writeFileSync(join(directory, "not of interest"), path);
  }
  t.same(applied, ["11"]);
  looks(1);
  t.equal(file.current, "2222");
});

t.test("a file that is written all the time is read all the same, after a while", async (t) => {
  const path = join(folder(t), "restless");
  writeFileSync(path, "");
  const { applied, looks } = live(t, [path], { absent: "" });
  for (let i = 0; i < 20; i++) {
    t.equal(applied.length, 0, `at look ${i}`);
    appendFileSync(path, "x");
    looks(1);
  }
  t.same(applied, ["x".repeat(20)]);
});

t.test("what could not be read is tried again, and said once: it may have been no fault of the file", async (t) => {
  const path = join(folder(t), "list");
  writeFileSync(path, "one");
  let fault = "";
  const lines = new Lines();
  const read = (): string => {
    if (fault !== "") throw new Error(fault);
    return readFileSync(path, "utf8");
  };
  const file = new LiveFile<string>({ paths: [path], read, apply: () => undefined, refusal: "it cannot be used", log: lines.log, absent: "none" });
  t.teardown(() => file.close());
  fault = "EMFILE";
  writeFileSync(path, "another");
  for (let i = 0; i < 50; i++) file.look();
  t.equal(file.current, "one");
  t.equal(lines.all.filter(({ text }) => text.includes("EMFILE")).length, 1);
  fault = "";
  for (let i = 0; i < 10; i++) file.look();
  t.equal(file.current, "another");
});

t.test("a path that cannot even be looked at is a warning, once, and what was read before stays", async (t) => {
  const path = join(folder(t), "circle");
  writeFileSync(path, "one");
  const { file, lines, looks } = live(t, [path], { absent: "nobody" });
  rmSync(path);
  symlinkSync(path, path);
  looks(4);
  t.equal(file.current, "one");
  t.match(lines.all.map(({ text }) => text), [/^it cannot be used: .*ELOOP/]);
  t.equal(lines.all.length, 1);
  rmSync(path);
  writeFileSync(path, "two");
  looks(2);
  t.equal(file.current, "two");
});
