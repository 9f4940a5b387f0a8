// The topics under $SYS/penstock: the metrics of /metrics under names made from theirs, so that what is counted is listed in one place. Pure.
//
//   penstock_shard_acks_pending{shard="1"}                      -> $SYS/penstock/shard/1/acks_pending
//   penstock_reactor_closed_total{shard="0",reason="stalled"}   -> $SYS/penstock/reactor/0/closed/stalled
//   process_cpu_seconds_total{mode="user"}                      -> $SYS/penstock/process/cpu_seconds/user
import type { SystemMessage } from "../../base/messages.js";

export interface Sample {
  /** As in /metrics. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Labels that say which thread: they follow its role. */
const THREAD_LABELS: ReadonlySet<string> = new Set(["shard", "lane"]);

/** A series for each pair of threads, one that never changes, or one that is read from a directory with an entry per connection. */
const LEFT_OUT = /^penstock_ring_|^penstock_build_info$|^process_start_time_seconds$|^process_open_fds$/;

export function isTopic(name: string): boolean {
  return !LEFT_OUT.test(name);
}

export function penstockMessage({ name, labels, value }: Sample): SystemMessage {
  const words = name.replace(/^penstock_/, "").replace(/_total$/, "");
  const cut = words.indexOf("_");
  const threads: string[] = [];
  const others: string[] = [];
  for (const [label, text] of Object.entries(labels)) (THREAD_LABELS.has(label) ? threads : others).push(levelOf(String(text)));
  const parts = cut < 0 ? [words] : [words.slice(0, cut), ...threads, words.slice(cut + 1)];
  return { topic: ["$SYS/penstock", ...parts, ...others].join("/"), payload: String(Number(value.toFixed(3))) };
}

/** One level of a topic name. */
function levelOf(text: string): string {
  return text.replace(/[/+#\0]/g, "_");
}
