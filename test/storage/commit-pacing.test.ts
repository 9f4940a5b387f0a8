import t from "tap";
import { CommitPacing } from "../../src/storage/commit-pacing.js";

/** Commits at the pacing's pace; `comes(ms)` says how many entries come in so long. @returns the last waits */
function drive(pacing: CommitPacing, commits: number, gapMs: number, before: number, comes: (ms: number) => number): number[] {
  const waits: number[] = [];
  let now = 1000;
  for (let i = 0; i < commits; i++) {
    now += gapMs;
    const wait = pacing.waitMs(now, before, before * 200);
    if (wait > 0) {
      now += wait;
      pacing.waited(before, before + comes(wait));
    }
    waits.push(wait);
    pacing.committed(now);
  }
  return waits;
}

t.test("a first message, and one after a pause, is committed at once", async (t) => {
  const pacing = new CommitPacing(4);
  t.equal(pacing.waitMs(0, 1, 200), 0);
  pacing.committed(0);
  t.equal(pacing.waitMs(100, 1, 200), 0);
});

t.test("a steady stream of small batches is gathered, up to the maximum and not beyond", async (t) => {
  const waits = drive(new CommitPacing(4), 100, 0.1, 1, (ms) => Math.round(ms * 10));
  t.ok(waits.at(-1)! > 3.5 && waits.at(-1)! <= 4, String(waits.at(-1)));
  t.ok(waits.every((wait) => wait <= 4));
});

t.test("clients that wait for their acknowledgement are not made to wait for nothing", async (t) => {
  const waits = drive(new CommitPacing(4), 2000, 0.1, 1, () => 0);
  t.ok(waits[1]! > 0, "it was tried");
  t.equal(waits[100], 0, "and given up");
  const waited = waits.slice(100).filter((wait) => wait > 0).length;
  t.ok(waited > 0, "but tried again now and then");
  t.ok(waited < 40, `${waited} of 1900`);
});

t.test("a batch that is large enough never waits", async (t) => {
  const pacing = new CommitPacing(4);
  pacing.committed(0);
  t.ok(pacing.waitMs(0.1, 10, 2000) > 0);
  t.equal(pacing.waitMs(0.1, 400, 2000), 0);
  t.equal(pacing.waitMs(0.1, 10, 200_000), 0);
});

t.test("a maximum of 0 never waits", async (t) => {
  t.ok(drive(new CommitPacing(0), 1000, 0.01, 1, () => 100).every((wait) => wait === 0));
});
