import t from "tap";
import { decodePayload } from "../../src/pipeline/decode.js";
import { learnLayout, type Learned } from "../../src/pipeline/learn-layout.js";
import { MEASUREMENT, Measurements } from "../../src/pipeline/measurements.js";
import { type KnownText, LayoutValues, readByLayout } from "../../src/pipeline/payload-layout.js";
import { ARRIVED_AT, decoded, newSeed, openPipeline, type Reading, seeded } from "./support.js";

/** Learns from a payload in the middle of other bytes. */
function learn(payload: string): Learned | undefined {
  const bytes = Buffer.from(`##${payload}##`, "utf8");
  const out = new Measurements();
  if (decodePayload(bytes, 2, bytes.length - 4, ARRIVED_AT, out) !== undefined) return undefined;
  return learnLayout(bytes, 2, bytes.length - 2, out);
}

/** Reads a payload by what was learned: undefined when it cannot. */
function readBy({ layout, known }: Learned, payload: string | Uint8Array): Reading[] | undefined {
  const bytes = Buffer.concat([Buffer.from("##"), Buffer.from(payload), Buffer.from("##")]);
  const values = new LayoutValues();
  const texts: KnownText[] = [];
  known.forEach((text, index) => (texts[index] = { ...text }));
  if (!readByLayout(layout, bytes, 2, bytes.length - 2, texts, values)) return undefined;
  const time = Number.isNaN(values.time) ? ARRIVED_AT : values.time;
  return layout.names.map((name, i) => {
    const index = layout.measured[i]!;
    const kind = layout.kinds[index];
    return { name, time, value: kind === MEASUREMENT.TEXT ? values.texts[index]! : kind === MEASUREMENT.BOOLEAN ? values.numbers[index] === 1 : values.numbers[index]! };
  });
}

t.test("a layout reads what differs in its values only, as decoding does", async (t) => {
  const pairs: readonly (readonly [string, string])[] = [
    ['{"t":21.5,"h":40}', '{"t":-3,"h":0.25e2}'],
    ['{"ts":1767225660,"t":1}', '{"ts":1767225661.25,"t":2}'],
    ['{"ts":1767225660,"t":1}', '{"ts":7,"t":2}'],
    ['{"t":1,"timestamp":"2026-01-01T00:00:00Z"}', '{"t":2,"timestamp":"2026-01-01T00:00:00.250+01:00"}'],
    ['{"t":1,"timestamp":"2026-01-01T00:00:00Z"}', '{"t":2,"timestamp":"soon"}'],
    ['{"on":true,"s":"idle"}', '{"on":false,"s":"running"}'],
    ['{"s":"\\u00b0C"}', '{"s":"\\u00b0C"}'],
    ['{"s":"°C","t":1}', '{"s":"°C","t":2}'],
    ['{"s":""}', '{"s":"x"}'],
    [' { "a" : 1 ,\n "b" : null , "c" : [ 1 , { "d" : 2 } ] } ', ' { "a" : 5 ,\n "b" : null , "c" : [ 6 , { "d" : -7.5 } ] } '],
    ['{"ä\\n":{"b":1},"e":{},"f":[]}', '{"ä\\n":{"b":2},"e":{},"f":[]}'],
    ['{"a":9007199254740993,"b":1}', '{"a":0.1234567890123456789,"b":1e-300}'],
    ['{"a.b":1,"a":{"b":2}}', '{"a.b":3,"a":{"b":4}}'],
    ["{}", "{}"],
  ];
  for (const [first, second] of pairs) {
    const learned = learn(first);
    t.ok(learned !== undefined, `${first} is learned`);
    if (learned === undefined) continue;
    t.same(readBy(learned, first), decoded(first), first);
    t.same(readBy(learned, second), decoded(second), second);
  }
});

t.test("a layout leaves to decoding whatever else differs", async (t) => {
  const learned = learn('{"t":21.5,"on":true,"s":"idle","ts":1767225660}');
  t.ok(learned !== undefined);
  const others = [
    '{"t":21.5,"on":true,"s":"idle","ts":1767225660', '{"t":21.5,"on":true,"s":"idle","ts":1767225660} ', '{"t":21.5,"on":true,"s":"idle","ts":1767225660}}',
    '{"t":,"on":true,"s":"idle","ts":1}', '{"t":"21.5","on":true,"s":"idle","ts":1}', '{"t":01,"on":true,"s":"idle","ts":1}', '{"t":1e400,"on":true,"s":"idle","ts":1}',
    '{"t":null,"on":true,"s":"idle","ts":1}', '{"t":1,"on":1,"s":"idle","ts":1}', '{"t":1,"on":truE,"s":"idle","ts":1}', '{"t":1,"on":tru,"s":"idle","ts":1}', '{"t":1,"on":null,"s":"idle","ts":1}',
    '{"t":1,"on":true,"s":"id\\"le","ts":1}', '{"t":1,"on":true,"s":"idlé","ts":1}', '{"t":1,"on":true,"s":"id\u007fle","ts":1}', '{"t":1,"on":true,"s":"id\nle","ts":1}', '{"t":1,"on":true,"s":"idle',
    `{"t":1,"on":true,"s":"${"x".repeat(1025)}","ts":1}`, '{"t":1,"on":true,"s":null,"ts":1}', '{"t":1,"on":true,"s":"idle","ts":"2026-01-01T00:00:00Z"}', '{"t":1,"on":true,"s":"idle","ts":true}',
    '{"T":1,"on":true,"s":"idle","ts":1}', '{"t":1, "on":true,"s":"idle","ts":1}', "", "{", "[]",
  ];
  for (const payload of others) t.equal(readBy(learned!, payload), undefined, payload);
});

t.test("what decoding alone can judge is not learned", async (t) => {
  const payloads = [
    '{"a":1,"a":2}', '{"a":1,"a":null}', '{"ts":1767225660,"ts":1767225661,"a":1}', '{"ts":1767225660,"timestamp":1,"a":1}', '{"ts":1767225660,"ts":null,"a":1}', '{"ts":null,"timestamp":1767225660,"a":1}',
    '{"b":1,"1":2}', '[{"a":1}]', "[1,2]", "1", '"x"', "true", "null", "plain", "", '\ufeff{"a":1}', `{"a":1,"x${" ".repeat(5000)}":null}`,
  ];
  for (const payload of payloads) t.equal(learn(payload), undefined, payload.slice(0, 60));
});

t.test("a payload cut at every byte is left to decoding", async (t) => {
  const payload = Buffer.from('{"ts":1767225660,"a":-1.5e3,"ok":true,"s":"x y","n":{"y":[1,2]}}', "utf8");
  const learned = learn(payload.toString("utf8"));
  t.ok(learned !== undefined);
  for (let length = 0; length < payload.length; length++) t.equal(readBy(learned!, payload.subarray(0, length)), undefined, `${length} bytes`);
});

// ---- random payloads: what a pipeline that learns gives is what decoding gives

interface Shape {
  readonly make: () => string;
}

function randomShapes(random: () => number): Shape {
  const pick = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!;
  const space = (): string => (random() < 0.9 ? "" : pick([" ", "\n", "\t", "  "]));
  const number = (): string => random() < 0.01 ? "1e400" : pick([
    () => String(Math.floor(random() * 2000) - 1000), () => (random() * 100).toFixed(2), () => String(random() * 1e6), () => `${Math.floor(random() * 100)}e${Math.floor(random() * 30) - 15}`,
    () => "-0", () => String(random() * 1e-300), () => "12345678901234567890",
  ])();
  const text = (): string => JSON.stringify(random() < 0.9 ? pick(["", "idle", "running"]) : pick(["°C", "a\"b", "line\nend", "\u007f", "x".repeat(1024), "x".repeat(1025), "ключ"]));
  const time = (): string => pick(["1767225660", "1767225660123", "12", "1767225660.5", '"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00.123+02:00"', '"later"', "null", "true", "-5"]);
  const value = (depth: number): (() => string) => {
    const kind = random();
    if (kind < 0.5) return number;
    if (kind < 0.65) return text;
    if (kind < 0.75) return () => pick(["true", "false"]);
    if (kind < 0.8) return () => "null";
    if (depth > 3) return number;
    if (kind < 0.9) {
      const items = Array.from({ length: Math.floor(random() * 4) }, () => ({ gap: space(), value: value(depth + 1) }));
      return () => `[${items.map((item) => item.gap + item.value()).join(",")}]`;
    }
    return object(depth + 1);
  };
  const object = (depth: number): (() => string) => {
    const members = Array.from({ length: Math.floor(random() * 5) }, () => ({ name: JSON.stringify(pick(["t", "h", "a", "b", "c", "1", "0", "größe", "a.b", "q\"", "__proto__", "ts", "timestamp"])), value: value(depth), gap: space() }));
    if (depth === 0 && random() < 0.4) members.push({ name: pick(['"ts"', '"timestamp"']), value: time, gap: "" });
    // Now and then the spaces differ too.
    return () => `{${members.map((member) => `${member.gap}${member.name}:${random() < 0.01 ? space() : member.gap}${member.value()}`).join(",")}}`;
  };
  const outer = random();
  if (outer < 0.9) return { make: object(0) };
  if (outer < 0.95) return { make: value(0) };
  const readings = [object(0), object(0)];
  return { make: () => `[${readings.map((reading) => reading()).join(",")}]` };
}

t.test("random payloads give the same by layout and by decoding", async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  const { pipeline, sink, send } = openPipeline();
  let differences = 0;
  for (let device = 0; device < 400 && differences < 5; device++) {
    // A device that alternates between a few layouts, some of them with faults.
    const shapes = [randomShapes(random), randomShapes(random)];
    for (let n = 0; n < 60; n++) {
      let payload = Buffer.from(shapes[n % 7 === 0 ? 1 : 0]!.make(), "utf8");
      if (random() < 0.05 && payload.length > 0) {
        payload = Buffer.from(payload);
        payload[Math.floor(random() * payload.length)] = Math.floor(random() * 256);
      }
      const expected = decoded(payload);
      sink.rows.length = 0;
      send(`device-${device}`, payload);
      const wanted = typeof expected === "string" ? [] : expected.map(({ name, time, value }) => ({ name, time, value: typeof value === "boolean" ? Number(value) : value }));
      const got = sink.rows.map(({ name, time, value }) => ({ name, time, value }));
      const isSame = wanted.length === got.length && wanted.every((one, i) => one.name === got[i]!.name && one.time === got[i]!.time && Object.is(one.value, got[i]!.value));
      if (!isSame) {
        differences++;
        t.same(got, wanted, `device ${device}, message ${n}: ${JSON.stringify(payload.toString("utf8"))}`);
      }
    }
  }
  t.equal(differences, 0);
  t.ok(pipeline.planReads > 5000, `${pipeline.planReads} messages were read by layout`);
});
