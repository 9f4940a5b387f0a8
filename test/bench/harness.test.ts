// The parts of the harness that need no broker: rows, tables, the reading of strace's output.
import t from "tap";
import type { LoadResult } from "../../bench/generator.js";
import { chooseRows, FULL_SIZES, makeRows } from "../../bench/rows.js";
import { parseCounts } from "../../bench/strace.js";
import { figuresTable, median, problemLines, short } from "../../bench/table.js";

const rows = makeRows(FULL_SIZES, 5);

void t.test("rows are chosen by name or by kind, each once, in the table's order", (t) => {
  t.same(chooseRows(rows, "pairs-qos0,ingest-qos0,pairs-qos0").map((row) => row.name), ["ingest-qos0", "pairs-qos0"]);
  t.equal(chooseRows(rows, "all").length, rows.length);
  t.ok(chooseRows(rows, "tls").every((row) => row.isTls));
  t.ok(chooseRows(rows, "standard").every((row) => row.isStandard));
  t.ok(chooseRows(rows, "scale").some((row) => row.name === "tls-storm") && chooseRows(rows, "scale").every((row) => row.isScale));
  t.equal(new Set(rows.map((row) => row.name)).size, rows.length, "no two rows have one name");
  t.end();
});

void t.test("a row that does not exist is refused, and those that do are named", (t) => {
  t.throws(() => chooseRows(rows, "ingest-qos9"), /no row ingest-qos9.*pairs-qos0/);
  t.throws(() => chooseRows(rows, "ingest-qos0,"), /no row/);
  t.end();
});

void t.test("resumption is a row of TLS only", (t) => {
  t.same(rows.filter((row) => row.name.endsWith("resume")).map((row) => row.name), ["tls-resume"]);
  t.end();
});

void t.test("strace's table is read with and without a count of errors", (t) => {
  const text = [
    "strace: Process 7 attached with 2 threads",
    "% time     seconds  usecs/call     calls    errors syscall",
    "------ ----------- ----------- --------- --------- ----------------",
    " 52.21    0.145226           6     21907       441 recvfrom",
    " 47.79    0.132941           6     21466           sendto",
    "------ ----------- ----------- --------- --------- ----------------",
    "100.00    0.278167           6     43373       441 total",
  ].join("\n");
  t.same([...parseCounts(text)], [["recvfrom", 21907], ["sendto", 21466]]);
  t.equal(parseCounts("strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted").size, 0);
  t.end();
});

void t.test("medians and short numbers", (t) => {
  t.equal(median([3, 1, 2]), 2);
  t.equal(median([4, 1, 2, 3]), 2.5);
  t.ok(Number.isNaN(median([])));
  t.same([0.12345, 12.345, 123456.7, Number.NaN].map(short), ["0.123", "12.3", "123457", "-"]);
  t.end();
});

void t.test("the table shows the median and its spread, the ratio to mosquitto, and leaves failed runs out", (t) => {
  const row = rows[0]!;
  const sample = (value: number, problem = ""): { run: undefined; value: number; problem: string } => ({ run: undefined, value, problem });
  const samples = new Map([
    [
      row,
      new Map([
        ["penstock", [sample(4), sample(2), sample(999, "3 lost")]],
        ["mosquitto", [sample(6), sample(6), sample(6)]],
        ["aedes", [sample(Number.NaN, "it died")]],
      ]),
    ],
  ]);
  const cells = figuresTable(samples, ["penstock", "mosquitto", "aedes"]).split("\n")[2]!.split("|").map((cell) => cell.trim());
  t.same(cells.slice(1, -1), [row.title, "us/message", "3 [2..4]", "6 [6..6]", "failed", "4.2", "0.5"]);
  t.same(problemLines(samples), ["- ingest-qos0, penstock: 3 lost", "- ingest-qos0, aedes: it died"]);
  t.end();
});

void t.test("a connection's memory is what came with it, divided by those that were served", (t) => {
  const idle = rows.find((row) => row.name === "idle")!;
  const target = { cpu_us: 0, user_us: 0, cpu_us_per_message: 0, cpu_us_per_delivery: 0, cores: 0, resident_start_kb: 50_000, resident_ready_kb: 90_000, resident_end_kb: 70_000 };
  t.equal(idle.value({ messages: 10_000, target } as LoadResult), 2);
  t.equal(idle.hasWarmup, false, "a warm-up would serve some of them twice");
  t.end();
});
