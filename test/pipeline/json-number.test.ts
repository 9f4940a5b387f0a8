import t from "tap";
import { readNumber } from "../../src/pipeline/json-number.js";
import { newSeed, seeded } from "./support.js";

const out = new Float64Array(1);

/** The value and where it ends, or undefined. */
function read(text: string): { value: number; end: number } | undefined {
  // Not at the beginning, so that an offset that is forgotten shows.
  const bytes = Buffer.from(`,${text}`, "latin1");
  const end = readNumber(bytes, 1, bytes.length, out, 0);
  return end < 0 ? undefined : { value: out[0]!, end: end - 1 };
}

t.test("numbers are read as JSON.parse reads them", async (t) => {
  const texts = [
    "0", "-0", "1", "-1", "10", "123456789012345", "-123456789012345", "1234567890123456", "9007199254740993", "12345678901234567890",
    "0.1", "-0.1", "0.0", "0.000001", "21.5", "21.300000000000001", "3.141592653589793", "0.30000000000000004", "1.7976931348623157e308",
    "1e0", "1E5", "1e+5", "1e-5", "1.5e10", "1e22", "1e23", "123456789012345e22", "123456789012345e-22", "1e-22", "1e-23", "5e-324", "2.2250738585072011e-308",
    "1e309", "-1e309", "1e99999999999", "1e-99999999999", "0e99999999999", "0.00000000000000000000000000000000000001", "100000000000000000000000000000000000001",
    "0.1234567890123456789012345678901234567890", "179769313486231580793728971405301e0", "4.35", "0.5e1", "0.000000000000000000000123456789012345",
  ];
  for (const text of texts) {
    const got = read(text);
    t.ok(got !== undefined && Object.is(got.value, JSON.parse(text)), `${text} gives ${String(got?.value)}`);
    t.equal(got?.end, text.length, `${text} is read whole`);
  }
});

t.test("what is no JSON number is refused", async (t) => {
  for (const text of ["", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "1e-", "-.5", "a", "NaN", "Infinity", "-Infinity", " 1", "--1", "1.x", '"1"']) {
    t.equal(read(text), undefined, JSON.stringify(text));
  }
});

t.test("a number ends where JSON says so, and what follows is left alone", async (t) => {
  t.same(read("01"), { value: 0, end: 1 });
  t.same(read("-01"), { value: -0, end: 2 });
  t.same(read("1,2"), { value: 1, end: 1 });
  t.same(read("1.5}"), { value: 1.5, end: 3 });
  t.same(read("12e3]"), { value: 12000, end: 4 });
  t.same(read("0x10"), { value: 0, end: 1 });
});

t.test("a number cut at every byte is a shorter number or none", async (t) => {
  const text = "-120.450e+07";
  for (let length = 0; length < text.length; length++) {
    const cut = text.slice(0, length);
    const bytes = Buffer.from(text, "latin1");
    const end = readNumber(bytes, 0, length, out, 0);
    let isNumber = true;
    try {
      JSON.parse(cut);
    } catch {
      isNumber = false;
    }
    t.equal(end === length, isNumber, `${JSON.stringify(cut)} ends at ${end}`);
    if (isNumber) t.equal(out[0], JSON.parse(cut));
  }
});

t.test("random numbers are read as JSON.parse reads them", async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  const digits = (most: number): string => Array.from({ length: 1 + Math.floor(random() * most) }, () => String(Math.floor(random() * 10))).join("");
  const bits = new DataView(new ArrayBuffer(8));
  let wrong = 0;
  for (let n = 0; n < 200_000; n++) {
    let text: string;
    if (n % 3 === 0) {
      bits.setUint32(0, random() * 0x1_0000_0000);
      bits.setUint32(4, random() * 0x1_0000_0000);
      const value = bits.getFloat64(0);
      text = Number.isFinite(value) ? String(value).replace("e+", random() < 0.5 ? "e" : "E+") : "0";
    } else {
      const whole = random() < 0.3 ? "0" : `${1 + Math.floor(random() * 9)}${random() < 0.5 ? "" : digits(18)}`;
      text = `${random() < 0.3 ? "-" : ""}${whole}${random() < 0.6 ? `.${digits(20)}` : ""}${random() < 0.3 ? `e${random() < 0.5 ? "-" : ""}${Math.floor(random() * 40)}` : ""}`;
    }
    const got = read(text);
    if (got === undefined || got.end !== text.length || !Object.is(got.value, JSON.parse(text))) {
      wrong++;
      t.fail(`${text} gives ${String(got?.value)}, not ${String(JSON.parse(text))}`);
      if (wrong > 5) break;
    }
  }
  t.equal(wrong, 0);
});
