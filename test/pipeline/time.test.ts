import t from "tap";
import { timeOfNumber, timeOfText } from "../../src/pipeline/time.js";
import { newSeed, seeded } from "./support.js";

function timeOf(text: string): number {
  const bytes = Buffer.from(`x${text}`, "utf8");
  return timeOfText(bytes, 1, bytes.length - 1);
}

t.test("a number is seconds or milliseconds by its magnitude", async (t) => {
  t.equal(timeOfNumber(1_767_225_600), Date.UTC(2026, 0, 1));
  t.equal(timeOfNumber(1_767_225_600.123), Date.UTC(2026, 0, 1) + 123);
  t.equal(timeOfNumber(1_767_225_600_000), Date.UTC(2026, 0, 1));
  t.equal(timeOfNumber(1_767_225_600_000.4), Date.UTC(2026, 0, 1));
  t.equal(timeOfNumber(1e8), 1e11, "the first second that counts");
  t.equal(timeOfNumber(1e11), 1e11, "the first millisecond that counts");
});

t.test("a number that is no plausible time is none", async (t) => {
  for (const value of [0, -1, 12, 99_999_999, 1e14, 1.7e15, -1_767_225_600, Number.NaN, Number.POSITIVE_INFINITY]) t.ok(Number.isNaN(timeOfNumber(value)), String(value));
});

t.test("RFC 3339 is understood in all its forms", async (t) => {
  const noon = Date.UTC(2026, 0, 31, 12, 30, 15);
  t.equal(timeOf("2026-01-31T12:30:15Z"), noon);
  t.equal(timeOf("2026-01-31t12:30:15z"), noon);
  t.equal(timeOf("2026-01-31 12:30:15Z"), noon);
  t.equal(timeOf("2026-01-31T12:30:15.5Z"), noon + 500);
  t.equal(timeOf("2026-01-31T12:30:15.123Z"), noon + 123);
  t.equal(timeOf("2026-01-31T12:30:15.123999Z"), noon + 123);
  t.equal(timeOf("2026-01-31T12:30:15.001Z"), noon + 1);
  t.equal(timeOf("2026-01-31T14:30:15+02:00"), noon);
  t.equal(timeOf("2026-01-31T07:00:15-05:30"), noon);
  t.equal(timeOf("2024-02-29T00:00:00Z"), Date.UTC(2024, 1, 29));
  t.equal(timeOf("2016-12-31T23:59:60Z"), Date.UTC(2017, 0, 1), "a leap second");
});

t.test("what is not RFC 3339 is refused", async (t) => {
  const texts = [
    "", "now", "2026-01-31", "2026-01-31T12:30:15", "2026-01-31T12:30Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z", "2026-01-00T00:00:00Z",
    "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:60:00Z", "2026-01-31T12:30:61Z", "2026-01-31T12:30:15.Z", "2026-01-31T12:30:15.1",
    "2026-01-31T12:30:15+0200", "2026-01-31T12:30:15+24:00", "2026-01-31T12:30:15+02:60", "2026-01-31T12:30:15Zx", "2026/01/31T12:30:15Z", "2026-01-31_12:30:15Z",
    "2026-1-31T12:30:15Z ", "1970-01-01T00:00:12Z", "0000-01-01T00:00:00Z", "２026-01-31T12:30:15Z",
  ];
  for (const text of texts) t.ok(Number.isNaN(timeOf(text)), text);
});

t.test("random times are what Date makes of them", async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  for (let n = 0; n < 20_000; n++) {
    const time = 1e11 + Math.floor(random() * 5e13);
    const text = new Date(time).toISOString();
    if (timeOf(text) !== time) t.equal(timeOf(text), time, text);
  }
  t.pass("all alike");
});
