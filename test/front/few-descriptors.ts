// Run by limits.test.ts under a small limit of file descriptors: a front alone, which reports when asked.
import { FrontAlone, listener } from "./gateway.js";

export interface DescriptorReport {
  readonly port: number;
  readonly accepted: number;
  readonly acceptFailed: number;
  readonly firstFrameRefused: number;
  readonly cpuMs: number;
}

const alone = new FrontAlone([listener("mqtt")]);
alone.front.start();

function report(): void {
  const { user, system } = process.cpuUsage();
  const now: DescriptorReport = { port: alone.port(), accepted: alone.count("ACCEPTED"), acceptFailed: alone.count("ACCEPT_FAILED"), firstFrameRefused: alone.count("FIRST_FRAME_REFUSED"), cpuMs: (user + system) / 1000 };
  process.send!(now);
}

process.on("message", report);
process.on("disconnect", () => process.exit(0));
report();
