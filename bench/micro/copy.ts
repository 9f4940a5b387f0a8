// Copying a record inside one shared memory, ns per copy: copyBytes (copyWithin) beside the view that `set` needs, and a loop over bytes.
// Run: node dist/bench/micro/copy.js [copies]
import { copyBytes } from "../../src/base/bytes.js";

const copies = Number(process.argv[2] ?? 20_000_000);
const SIZE = 4 * 1024 * 1024;
const memory = new Uint8Array(new SharedArrayBuffer(SIZE));

type Copy = (from: number, to: number, length: number) => void;

const withCopyBytes: Copy = (from, to, length) => copyBytes(memory, to, memory, from, length);
const withView: Copy = (from, to, length) => memory.set(memory.subarray(from, from + length), to);
const withLoop: Copy = (from, to, length) => {
  for (let i = 0; i < length; i++) memory[to + i] = memory[from + i]!;
};

function measure(name: string, copy: Copy, length: number): void {
  // Positions that move on through half of the memory, as a ring's do.
  const run = (count: number): void => {
    for (let n = 0; n < count; n++) {
      const at = (n * 256) & (SIZE / 2 - 1) & ~0xfff;
      copy(at, SIZE / 2 + at, length);
    }
  };
  run(copies / 10);
  const began = process.cpuUsage();
  run(copies);
  const used = process.cpuUsage(began);
  console.log(`${name.padEnd(12)} ${String(length).padStart(5)} bytes  ${(((used.user + used.system) / copies) * 1000).toFixed(0).padStart(5)} ns`);
}

for (const length of [32, 128, 1024]) {
  measure("copyBytes", withCopyBytes, length);
  measure("view and set", withView, length);
  measure("loop", withLoop, length);
}
