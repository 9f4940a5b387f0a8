// The file that says how far the lanes were.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readLanePositions, writeLanePositions } from "../../src/storage/lane-positions.js";

const directory = mkdtempSync(join(tmpdir(), "penstock-lanes-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, "lanes.json");

t.test("lanes go on where they were, not before what the journal still has", async (t) => {
  t.same(readLanePositions(path, 2, 64, 5000), [64, 64], "nothing is known yet");
  writeLanePositions(path, [100, 3000]);
  t.same(readLanePositions(path, 2, 64, 5000), [100, 3000]);
  t.same(readLanePositions(path, 2, 1000, 5000), [1000, 3000], "what is trimmed is gone");
  writeLanePositions(path, [200, 4000]);
  t.same(readLanePositions(path, 2, 64, 5000), [200, 4000], "the file is replaced");
});

t.test("with another number of lanes all go back to the slowest", async (t) => {
  writeLanePositions(path, [100, 3000]);
  t.same(readLanePositions(path, 3, 64, 5000), [100, 100, 100]);
  t.same(readLanePositions(path, 1, 64, 5000), [100]);
});

t.test("positions of another journal, and a file that is none, count for nothing", async (t) => {
  writeLanePositions(path, [100, 3000]);
  t.same(readLanePositions(path, 2, 64, 2999), [64, 64]);
  for (const text of ["", "{", "null", "[]", "{}", '{"read":[]}', '{"read":[1,"2"]}', '{"read":[1,-2]}', '{"read":[1,1.5]}', '{"read":7}']) {
    writeFileSync(path, text);
    t.same(readLanePositions(path, 2, 64, 5000), [64, 64], text);
  }
});
