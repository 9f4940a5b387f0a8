// Publishes the gateway's figures under $SYS, through a shard, as retained messages: every interval those that changed. On control's thread.
// Invariant: `published` is what the shards hold for certain; whenever that is in doubt (a shard was started anew, an answer did not come)
// it is emptied, and everything is published again.
import type { Log } from "../../base/log.js";
import type { SystemMessage } from "../../base/messages.js";

/** So many in one request: a shard serves its clients between them. */
const MESSAGES_PER_REQUEST = 64;
/** After a failure: shards that start are not ready at once. */
const RETRY_MS = 250;

export interface SystemTopicsSource {
  readonly intervalMs: number;
  readonly shards: number;
  /** All topics with their values now. */
  readonly take: () => Promise<readonly SystemMessage[]>;
  /** Has a shard publish; false when it does not serve yet. */
  readonly publish: (shard: number, messages: readonly SystemMessage[]) => Promise<boolean>;
}

export class SystemTopics {
  private readonly source: SystemTopicsSource;
  private readonly log: Log;
  private published = new Map<string, string>();
  private timer: NodeJS.Timeout | null = null;
  private isClosed = false;
  private isRunning = false;
  /** Rises when a shard was started anew. */
  private epoch = 0;
  private shard = 0;

  constructor(source: SystemTopicsSource, log: Log) {
    this.source = source;
    this.log = log;
    this.schedule(0);
  }

  /** A shard was started (again): it, and with it perhaps all, may know nothing. */
  shardStarted(): void {
    this.epoch++;
    this.published.clear();
    if (!this.isRunning) this.schedule(0);
  }

  close(): void {
    this.isClosed = true;
    if (this.timer !== null) clearTimeout(this.timer);
  }

  private schedule(delayMs: number): void {
    if (this.isClosed) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.run(), delayMs);
  }

  private async run(): Promise<void> {
    this.isRunning = true;
    const { epoch } = this;
    let isDone = false;
    try {
      isDone = await this.publishChanges();
    } catch (error) {
      // The shard is being started again, or has more to do: another is asked next time.
      this.log.debug("a shard did not publish $SYS", { error: error instanceof Error ? error.message : String(error) });
    }
    this.isRunning = false;
    if (isDone && epoch === this.epoch) {
      this.schedule(this.source.intervalMs);
      return;
    }
    this.published.clear();
    this.shard = (this.shard + 1) % this.source.shards;
    this.schedule(RETRY_MS);
  }

  /** @returns false when the shard does not serve yet */
  private async publishChanges(): Promise<boolean> {
    const changed = (await this.source.take()).filter(({ topic, payload }) => this.published.get(topic) !== payload);
    for (let at = 0; at < changed.length && !this.isClosed; at += MESSAGES_PER_REQUEST) {
      const page = changed.slice(at, at + MESSAGES_PER_REQUEST);
      if (!(await this.source.publish(this.shard, page))) return false;
      for (const { topic, payload } of page) this.published.set(topic, payload);
    }
    return true;
  }
}
