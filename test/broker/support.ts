// Random topics and filters from few levels, so that they meet often.
import type { Random } from "../protocol/mqtt/support.js";

const LEVELS: readonly string[] = ["a", "b", "c", "", "aa", "ü", "$x", "d1", "d2", "telemetry", "A"];

export function randomTopic(random: Random): string {
  const topic = Array.from({ length: 1 + random.below(5) }, () => random.pick(LEVELS)).join("/");
  return topic === "" ? "a" : topic;
}

export function randomFilter(random: Random): string {
  const levels = Array.from({ length: 1 + random.below(5) }, () => (random.chance(25) ? "+" : random.pick(LEVELS)));
  if (random.chance(25)) levels[levels.length - 1] = "#";
  const filter = levels.join("/");
  return filter === "" ? "#" : filter;
}
