// The load generator against the built gateway with two shards, in small, over TCP and TLS.
import { tmpdir } from "node:os";
import t from "tap";
import { penstock } from "../../bench/peers/penstock.js";
import type { Target } from "../../bench/peers/target.js";
import { testTarget } from "./targets.js";

let target: Target;

t.before(async () => {
  const missing = penstock.missing();
  if (missing !== "") throw new Error(`these tests need the built gateway: ${missing}`);
  target = await penstock.start({ directory: tmpdir(), prefix: [], configuration: ["shards: 2"], nodeArguments: [] });
});

t.after(() => target.stop());

testTarget(() => target);

// The gateway keeps the process alive, so the end has to be said.
t.end();
