import t from "tap";
import { LANE_COUNTER } from "../../src/base/counters.js";
import { ROW_FLAG } from "../../src/base/history-record.js";
import { ARRIVED_AT, openPipeline } from "./support.js";

t.test("each measurement becomes a row of its series, which is named once", async (t) => {
  const { sink, send, counters } = openPipeline();
  send("d1", '{"t":1,"on":true,"s":"idle"}');
  send("d2", '{"t":2}');
  send("d1", '{"t":3,"on":false,"s":"idle"}');
  t.same(sink.announced, ["d1 t", "d1 on", "d1 s", "d2 t"]);
  t.same(sink.rows.map(({ device, name, value, flags }) => [device, name, value, flags]), [
    ["d1", "t", 1, 0], ["d1", "on", 1, ROW_FLAG.BOOLEAN], ["d1", "s", "idle", 0], ["d2", "t", 2, 0],
    ["d1", "t", 3, 0], ["d1", "on", 0, ROW_FLAG.BOOLEAN], ["d1", "s", "idle", 0],
  ]);
  t.equal(counters[LANE_COUNTER.MESSAGES], 3);
  t.equal(counters[LANE_COUNTER.MEASUREMENTS], 7);
});

t.test("the last value is known with its statistics", async (t) => {
  const { pipeline, send } = openPipeline();
  t.equal(pipeline.last("d1", "t"), null);
  for (const value of [1, 2, 3, 4]) send("d1", `{"ts":${1_767_225_600 + value},"t":${value},"on":${value === 2},"s":"v${value}"}`);
  const last = pipeline.last("d1", "t");
  t.match(last, { time: 1_767_225_604_000, value: 4, statistics: { count: 4, mean: 2.5, isAnomaly: false } });
  t.ok(Math.abs(last!.statistics!.standardDeviation - Math.sqrt(5 / 3)) < 1e-12);
  t.ok(Math.abs(last!.statistics!.zScore - 1.5 / Math.sqrt(5 / 3)) < 1e-12);
  t.same(pipeline.last("d1", "on"), { time: 1_767_225_604_000, value: false });
  t.same(pipeline.last("d1", "s"), { time: 1_767_225_604_000, value: "v4" });
  t.equal(pipeline.last("d1", "x"), null);
  t.equal(pipeline.last("d2", "t"), null);
});

t.test("a name may hold numbers, then text, then numbers again", async (t) => {
  const { pipeline, sink, send } = openPipeline();
  for (const payload of ['{"a":1}', '{"a":"off"}', '{"a":true}', '{"a":3}']) send("d1", payload);
  t.same(sink.rows.map((row) => row.value), [1, "off", 1, 3]);
  t.same(sink.announced, ["d1 a"]);
  t.match(pipeline.last("d1", "a"), { value: 3, statistics: { count: 2, mean: 2 } });
});

t.test("an outlier is flagged in its row, counted, and one event a minute tells of it", async (t) => {
  const { sink, send, counters } = openPipeline();
  for (let n = 0; n < 50; n++) send("d1", `{"t":${20 + (n % 3)}}`, n);
  t.equal(counters[LANE_COUNTER.ANOMALIES], 0);
  send("d1", '{"t":500}', 100);
  for (let n = 0; n < 30; n++) send("d1", `{"t":${20 + (n % 3)}}`, 200 + n);
  send("d1", '{"t":5000}', 1000);
  for (let n = 0; n < 90; n++) send("d1", `{"t":${20 + (n % 3)}}`, 2000 + n);
  send("d1", '{"t":500}', 70_000);
  t.equal(counters[LANE_COUNTER.ANOMALIES], 3);
  t.same(sink.rows.filter((row) => row.flags === ROW_FLAG.ANOMALY).map((row) => row.value), [500, 5000, 500]);
  t.same(sink.events.map(({ device, kind }) => [device, kind]), [["d1", "anomaly"], ["d1", "anomaly"]]);
  t.match(sink.events[0]!.text, /^t = 500: z 7\.\d\d, mean /);
});

t.test("what does not decode is counted, and an event has the reason and what was sent", async (t) => {
  const { sink, send, counters } = openPipeline();
  send("d1", '{"t":');
  send("d2", Uint8Array.of(0xff, 0x41, 0x42));
  send("d3", `{"t":1${"x".repeat(1000)}`);
  t.equal(counters[LANE_COUNTER.DECODE_FAILURES], 3);
  t.equal(sink.rows.length, 0);
  t.same(sink.events.map(({ time, device, kind }) => [time, device, kind]), [[ARRIVED_AT, "d1", "decode"], [ARRIVED_AT, "d2", "decode"], [ARRIVED_AT, "d3", "decode"]]);
  t.match(sink.events[0]!.text, /^not JSON: .*; payload: \{"t":$/);
  t.equal(sink.events[1]!.text, "not UTF-8; payload: .AB");
  t.match(sink.events[2]!.text, /\{"t":1x+… \(1006 bytes\)$/);
  t.ok(sink.events[2]!.text.length < 400, "an excerpt only");
});

t.test("a device id that is too long or missing does not decode", async (t) => {
  const { sink, send, counters } = openPipeline();
  send("", '{"t":1}');
  send("d".repeat(257), '{"t":1}');
  send("d".repeat(256), '{"t":1}');
  t.equal(counters[LANE_COUNTER.DECODE_FAILURES], 2);
  t.equal(sink.rows.length, 1);
});

t.test("one device cannot flood the events, and all devices together cannot either", async (t) => {
  const { sink, send, counters } = openPipeline();
  send("d1", "1");
  for (let n = 0; n < 1000; n++) send("d1", "{", n);
  t.equal(sink.events.length, 10);
  for (let n = 0; n < 5000; n++) send(`other-${n}`, "{", 1000 + n);
  t.equal(sink.events.length, 600);
  send("d1", "{", 70_000);
  t.equal(sink.events.length, 601, "the next minute");
  t.equal(counters[LANE_COUNTER.DECODE_FAILURES], 6001);
});

t.test("beyond the limit the series of the device that was silent longest go", async (t) => {
  const { pipeline, sink, send, counters } = openPipeline({ seriesMax: 4096 });
  for (let n = 0; n < 4096; n++) send(`d${n}`, '{"t":1}');
  send("d0", '{"t":2}');
  send("new", '{"t":3}');
  pipeline.updateGauges();
  t.equal(counters[LANE_COUNTER.SERIES], 4096);
  t.equal(counters[LANE_COUNTER.SERIES_EVICTED], 1);
  t.match(pipeline.last("d0", "t"), { value: 2 }, "it spoke again and stays");
  t.equal(pipeline.last("d1", "t"), null, "it was silent longest");
  t.match(pipeline.last("new", "t"), { value: 3 });
  send("d1", '{"t":4}');
  t.same(pipeline.last("d1", "t")!.statistics!.count, 1, "it begins anew");
  t.same(sink.rows.at(-1), { device: "d1", name: "t", time: ARRIVED_AT, value: 4, flags: 0 }, "and is named again");
});

t.test("one device with ever new names stays within the limit", async (t) => {
  const { pipeline, sink, send, counters } = openPipeline({ seriesMax: 4096 });
  send("calm", '{"t":1}');
  for (let n = 0; n < 20_000; n++) send("wild", `{"name-${n}":${n}}`);
  pipeline.updateGauges();
  t.ok(counters[LANE_COUNTER.SERIES]! <= 4096);
  t.equal(sink.rows.length, 20_001);
  t.ok(sink.rows.every((row, n) => n === 0 || row.name === `name-${n - 1}`), "each row is of its own series");
});

t.test("a message with 4096 new names fits whatever was there before", async (t) => {
  const { sink, send } = openPipeline({ seriesMax: 4096 });
  for (let n = 0; n < 100; n++) send(`d${n}`, '{"t":1}');
  sink.rows.length = 0;
  const names = Array.from({ length: 4096 }, (_, i) => `n${i}`);
  for (let round = 0; round < 3; round++) send("large", `{${names.map((name, i) => `"${name}":${i}`).join(",")}}`);
  t.equal(sink.rows.length, 3 * 4096);
  t.ok(sink.rows.every((row, i) => row.device === "large" && row.name === `n${i % 4096}` && row.value === i % 4096));
});

t.test("devices whose ids have the same hash are told apart", async (t) => {
  // FNV-1a, 32 bits: "costarring" and "liquid" collide.
  const { pipeline, send } = openPipeline();
  send("costarring", '{"t":1}');
  send("liquid", '{"t":2}');
  send("costarring", '{"t":3}');
  t.match(pipeline.last("costarring", "t"), { value: 3, statistics: { count: 2 } });
  t.match(pipeline.last("liquid", "t"), { value: 2, statistics: { count: 1 } });
});

t.test("a device that alternates between layouts is read right", async (t) => {
  const { sink, send } = openPipeline();
  const layouts = ['{"a":N}', '{"b":N}', '{"a":N,"b":N}', '{"b":N,"a":N}', '{"c":{"a":N}}', '{"a":N }'];
  for (let n = 0; n < 600; n++) send("d1", layouts[n % layouts.length]!.replaceAll("N", String(n)));
  const wanted = Array.from({ length: 600 }, (_, n) => [["a"], ["b"], ["a", "b"], ["b", "a"], ["c.a"], ["a"]][n % 6]!.map((name) => [name, n])).flat();
  t.same(sink.rows.map((row) => [row.name, row.value]), wanted);
});
