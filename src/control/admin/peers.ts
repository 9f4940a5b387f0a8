// Asks the other workers over their ports: one request, one answer or an error, within a deadline. On control's thread.
import type { MessagePort } from "node:worker_threads";
import type { Query, Reply, Request } from "../../base/messages.js";
import type { Peer, PeerRole } from "../control-messages.js";
import { ApiError, errorOfStatus } from "./api-error.js";

/** Requests under way at once, all peers together. */
const IN_FLIGHT_MAX = 256;

interface Waiting {
  readonly port: MessagePort;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: ApiError) => void;
  readonly timer: NodeJS.Timeout;
}

export class Peers {
  private readonly ports = new Map<string, MessagePort>();
  private readonly waiting = new Map<number, Waiting>();
  private readonly deadlineMs: number;
  private lastId = 0;

  constructor(peers: readonly Peer[], deadlineMs: number) {
    this.deadlineMs = deadlineMs;
    for (const peer of peers) this.set(peer.role, peer.index, peer.port);
  }

  /** A worker was started (again): it answers at this port from now on. */
  set(role: PeerRole, index: number, port: MessagePort): void {
    const key = keyOf(role, index);
    this.ports.get(key)?.close();
    this.ports.set(key, port);
    port.on("message", (reply: Reply) => this.onReply(reply));
    port.on("close", () => {
      if (this.ports.get(key) === port) this.ports.delete(key);
      for (const [id, entry] of this.waiting) if (entry.port === port) this.finish(id)?.reject(new ApiError("UNAVAILABLE", `${key} is being started again`));
    });
  }

  /** @throws ApiError what the worker answered, TIMEOUT, UNAVAILABLE or BUSY */
  async ask(role: PeerRole, index: number, query: Query): Promise<unknown> {
    const key = keyOf(role, index);
    const port = this.ports.get(key);
    if (port === undefined) throw new ApiError("UNAVAILABLE", `${key} is not running`);
    if (this.waiting.size >= IN_FLIGHT_MAX) throw new ApiError("BUSY", "too many queries at once");
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.finish(id)?.reject(new ApiError("TIMEOUT", `${key} did not answer within ${String(this.deadlineMs / 1000)} s`)), this.deadlineMs);
      this.waiting.set(id, { port, resolve, reject, timer });
      const request: Request = { id, query };
      port.postMessage(request);
    });
  }

  private onReply(reply: Reply): void {
    // An answer that came after its deadline has nobody waiting any more.
    const entry = this.finish(reply.id);
    if ("error" in reply) entry?.reject(errorOfStatus(reply.status, reply.error));
    else entry?.resolve(reply.result);
  }

  private finish(id: number): Waiting | undefined {
    const entry = this.waiting.get(id);
    this.waiting.delete(id);
    clearTimeout(entry?.timer);
    return entry;
  }

  close(): void {
    for (const port of this.ports.values()) port.close();
  }
}

function keyOf(role: PeerRole, index: number): string {
  return role === "history" ? role : `${role} ${String(index)}`;
}
