// Which messages of this shard's groups (shared subscriptions) are with members, while the journal is read (session-replay.ts): a member has what it was
// GIVEN until it gave it back, acknowledged it, or ended. Members live on any shard: their entries are read here for the sake of the groups. Pure.
import { deliveryGroup, type SnapshotEntry } from "./session-entries.js";

export class GivenMessages {
  private readonly isOurs: (groupId: string) => boolean;
  private readonly isDone: (groupId: string, messageId: number) => void;
  /** By client id: ids of messages, and the groups that gave them. */
  private readonly byClient = new Map<string, Map<number, Set<string>>>();
  /** By client id: packet ids of such messages that were sent with QoS 2. */
  private readonly packets = new Map<string, Map<number, number>>();
  /** By group: two generations, the older forgotten first. */
  private finished = new Map<string, Set<number>>();
  private finishedEarlier = new Map<string, Set<number>>();

  /**
   * @param isOurs whether this shard owns a group
   * @param isDone called when a member has come to an end with a message: nobody else gets it
   */
  constructor(isOurs: (groupId: string) => boolean, isDone: (groupId: string, messageId: number) => void) {
    this.isOurs = isOurs;
    this.isDone = isDone;
  }

  /** Whether a member has anything: else its acknowledgements need not be looked at. */
  get isNeeded(): boolean {
    return this.byClient.size > 0 || this.packets.size > 0;
  }

  /** Whether a member has come to an end with a group's message, as far as that was not long ago: a snapshot of the group may not know it yet. */
  isFinished(groupId: string, messageId: number): boolean {
    return this.finished.get(groupId)?.has(messageId) === true || this.finishedEarlier.get(groupId)?.has(messageId) === true;
  }

  /** So much of the journal was read that snapshots which could not know of it are behind. */
  forgetEarly(): void {
    this.finishedEarlier = this.finished;
    this.finished = new Map();
  }

  /** What members have of the groups: by group and message, the client id of one that has it. */
  holders(): ReadonlyMap<string, ReadonlyMap<number, string>> {
    const byGroup = new Map<string, Map<number, string>>();
    for (const [clientId, messages] of this.byClient) {
      for (const [id, groups] of messages) {
        for (const groupId of groups) {
          const holders = byGroup.get(groupId);
          if (holders === undefined) byGroup.set(groupId, new Map([[id, clientId]]));
          else holders.set(id, clientId);
        }
      }
    }
    return byGroup;
  }

  add(clientId: string, messageId: number, groupId: string): void {
    if (!this.isOurs(groupId)) return;
    let messages = this.byClient.get(clientId);
    if (messages === undefined) this.byClient.set(clientId, (messages = new Map<number, Set<string>>()));
    const groups = messages.get(messageId);
    if (groups === undefined) messages.set(messageId, new Set([groupId]));
    else groups.add(groupId);
  }

  back(clientId: string, messageId: number, groupId: string): void {
    const groups = this.byClient.get(clientId)?.get(messageId);
    if (groups?.delete(groupId) === true && groups.size === 0) this.forget(clientId, messageId);
  }

  /** @param key deliveryKey: below 0 for a group's message */
  sent(clientId: string, packetId: number, key: number): void {
    if (key >= 0 || this.byClient.get(clientId)?.has(-key) !== true) {
      this.release(clientId, packetId);
      return;
    }
    let packets = this.packets.get(clientId);
    if (packets === undefined) this.packets.set(clientId, (packets = new Map<number, number>()));
    packets.set(packetId, -key);
  }

  /** PUBREC came for a packet id, or its end. */
  received(clientId: string, packetId: number): void {
    const messageId = this.packets.get(clientId)?.get(packetId);
    if (messageId === undefined) return;
    this.release(clientId, packetId);
    this.done(clientId, messageId);
  }

  acked(clientId: string, count: number, key: (i: number) => number): void {
    if (!this.byClient.has(clientId)) return;
    for (let i = 0; i < count; i++) if (key(i) < 0) this.done(clientId, -key(i));
  }

  /** What it had and did not give back was sent with QoS 2: nobody else gets it [MQTT-4.8.2-5]. */
  sessionEnd(clientId: string): void {
    for (const messageId of [...(this.byClient.get(clientId)?.keys() ?? [])]) this.done(clientId, messageId);
    this.packets.delete(clientId);
  }

  /** A member has come to an end with a message of a group, says the journal, whatever of that member stands in it. */
  finish(groupId: string, messageId: number): void {
    const finished = this.finished.get(groupId);
    if (finished === undefined) this.finished.set(groupId, new Set([messageId]));
    else finished.add(messageId);
    if (this.isOurs(groupId)) this.isDone(groupId, messageId);
  }

  /** What members have come to an end with not long ago, of groups that other shards own: these may not have heard of it. */
  *finishedElsewhere(): Iterable<readonly [groupName: string, messageIds: ReadonlySet<number>]> {
    for (const generation of [this.finishedEarlier, this.finished]) for (const [groupId, ids] of generation) if (!this.isOurs(groupId)) yield [groupId.slice(1), ids];
  }

  snapshot({ clientId, queue, inflight }: SnapshotEntry): void {
    for (const delivery of queue) this.listed(clientId, delivery);
    for (const [packetId, , delivery] of inflight) {
      if (delivery === null) continue;
      this.listed(clientId, delivery);
      if (delivery[4] !== undefined) this.sent(clientId, packetId, -delivery[0]);
    }
  }

  private listed(clientId: string, delivery: SnapshotEntry["queue"][number]): void {
    const groupId = deliveryGroup(delivery);
    if (groupId !== null) this.add(clientId, delivery[0], groupId);
  }

  private done(clientId: string, messageId: number): void {
    const groups = this.byClient.get(clientId)?.get(messageId);
    if (groups === undefined) return;
    this.forget(clientId, messageId);
    for (const groupId of groups) this.finish(groupId, messageId);
  }

  private release(clientId: string, packetId: number): void {
    const packets = this.packets.get(clientId);
    if (packets?.delete(packetId) === true && packets.size === 0) this.packets.delete(clientId);
  }

  private forget(clientId: string, messageId: number): void {
    const messages = this.byClient.get(clientId)!;
    messages.delete(messageId);
    if (messages.size === 0) this.byClient.delete(clientId);
  }
}
