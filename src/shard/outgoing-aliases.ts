// Topic aliases towards one MQTT 5 receiver (§3.3.2.3.4): the most recently used topics have one each. Only receivers that offered a topic alias
// maximum have this; they get it on PUBLISH packets whose bytes are their own (QoS 1 and 2, and QoS 0 that cannot be shared with others). Hot path.
// Invariant: a topic is in `aliases` from the writing of a packet that holds both it and its alias until another topic gets that alias.
import { measurePublish, type OutgoingPublish } from "../protocol/mqtt/publish-writer.js";

/** The property's size: a shorter topic is cheaper than its alias. */
const ALIAS_SIZE = 3;

export class OutgoingAliases {
  private readonly countMax: number;
  /** In the order of use, the oldest first. */
  private readonly aliases = new Map<string, number>();
  private candidate = "";

  /** @param countMax at least 1, at most the receiver's topic alias maximum [MQTT-3.3.2-11] */
  constructor(countMax: number) {
    this.countMax = countMax;
  }

  /** Puts the topic's alias into a packet that has none yet, in the place of the topic when the receiver knows it. */
  apply(out: OutgoingPublish, topic: string, packetSizeMax: number): void {
    if (out.topicLength <= ALIAS_SIZE) return;
    const known = this.aliases.get(topic);
    if (known !== undefined) {
      this.aliases.delete(topic);
      this.aliases.set(topic, known);
      out.topicAlias = known;
      out.topicLength = 0;
      return;
    }
    out.topicAlias = this.aliases.size < this.countMax ? this.aliases.size + 1 : this.aliases.values().next().value!;
    // The message must not be lost for the bytes of its alias.
    if (measurePublish(out) > packetSizeMax) out.topicAlias = 0;
    this.candidate = topic;
  }

  /** The packet that `apply` looked at last was written: the receiver knows its alias from now on. REQUIRES: it has one. */
  sent(out: OutgoingPublish): void {
    if (out.topicLength === 0) return;
    if (this.aliases.size === this.countMax) this.aliases.delete(this.aliases.keys().next().value!);
    this.aliases.set(this.candidate, out.topicAlias);
  }
}
