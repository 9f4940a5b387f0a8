// Ends connections whose right to be here is over: certificate revoked or its authority taken away, user deleted, password changed, key of
// tokens gone (docs/authentication.md). Clients whose groups are others now go on with those. Thread: the shard's.
//
// When something has changed all connections are gone through, so many a turn: once for their certificates, once for all else. A change meanwhile
// lets that go on round until each was seen since, wherever it stands: changes that come often keep nobody from being seen. A client whose
// handshake was under way comes later, verified by what held before, perhaps to a shard that was started meanwhile: the number of the secure
// context that it was verified by tells, and it is looked at when it comes. Who was verified by what holds now is not looked at.
import type { Authenticator } from "../base/authenticator.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import type { ClientTrust } from "../base/messages.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import type { Reactor } from "../reactor/reactor.js";
import type { Admission } from "./admission.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import { firstsOfName } from "./listener-limits.js";
import type { ShardParts } from "./turn.js";

/** Slots looked at in a turn. */
const SLOTS_PER_TURN = 1024;
/** Signatures verified in a turn: some milliseconds. */
const CERTIFICATES_PER_TURN = 32;

export class Recheck {
  private readonly parts: ShardParts;
  private readonly authenticator: Authenticator;
  private readonly admission: Admission;
  private readonly reactor: Pick<Reactor, "trust" | "peerFault">;
  private readonly expel: (connection: Connection, error: ProtocolError) => void;
  /** A trust goes by the first listener of its name. */
  private readonly trustKeys: readonly number[];
  private readonly grants = new Round();
  private readonly certificates = new Round();
  /** By trust key: clients of secure contexts before this one were verified by others. */
  private readonly contexts = new Map<number, number>();
  private seenChanges: number;
  private ended = 0;

  /** @param expel ends a connection, with DISCONNECT to MQTT 5 */
  constructor(parts: ShardParts, authenticator: Authenticator, admission: Admission, reactor: Pick<Reactor, "trust" | "peerFault">, expel: (connection: Connection, error: ProtocolError) => void) {
    this.parts = parts;
    this.authenticator = authenticator;
    this.admission = admission;
    this.reactor = reactor;
    this.expel = expel;
    this.seenChanges = authenticator.changes;
    this.trustKeys = firstsOfName(parts.start.listeners);
    for (const trust of parts.start.trusts) this.useTrust(trust);
  }

  /** Certificates of a listener's clients are verified by others from now on. */
  useTrust({ listener, ca, crl, context }: ClientTrust): void {
    const key = this.parts.start.listeners.findIndex(({ name }) => name === listener);
    if (key < 0) return;
    this.reactor.trust(key, ca, crl);
    this.contexts.set(key, context);
    this.certificates.begin(this.parts.connections.slotCount);
  }

  /** A connection has come. */
  opened(connection: Connection): void {
    if (this.isOfBefore(connection)) this.lookAtCertificate(connection);
  }

  everySecond(): void {
    const { changes } = this.authenticator;
    this.report();
    if (changes === this.seenChanges) return;
    this.seenChanges = changes;
    this.grants.begin(this.parts.connections.slotCount);
  }

  /** @returns false when there is more to do */
  turn(): boolean {
    if (this.grants.isDone && this.certificates.isDone) return true;
    this.lookAtCertificates();
    for (let count = 0; count < SLOTS_PER_TURN && !this.grants.isDone; count++) {
      const connection = this.inSlot(this.grants.next());
      if (connection !== null) this.lookAtGrant(connection);
    }
    if (!this.grants.isDone || !this.certificates.isDone) return false;
    this.report();
    return true;
  }

  private lookAtCertificates(): void {
    let verified = 0;
    for (let count = 0; count < SLOTS_PER_TURN && verified < CERTIFICATES_PER_TURN && !this.certificates.isDone; count++) {
      const connection = this.inSlot(this.certificates.next());
      if (connection === null || !this.isOfBefore(connection)) continue;
      verified++;
      this.lookAtCertificate(connection);
    }
  }

  /** Whether its client has shown a certificate, and that was verified by others than hold now. */
  private isOfBefore({ opened: { tls, listener } }: Connection): boolean {
    return tls?.certificate !== undefined && tls.context < (this.contexts.get(this.keyOf(listener)) ?? 0);
  }

  private lookAtCertificate(connection: Connection): void {
    const fault = this.reactor.peerFault(connection.id, this.keyOf(connection.opened.listener));
    if (fault !== "") this.end(connection, `the client's certificate is not accepted any more (${fault})`);
  }

  private keyOf(listener: number): number {
    return this.trustKeys[listener] ?? 0;
  }

  /** Whoever has the slot and may be ended. */
  private inSlot(slot: number): Connection | null {
    const connection = this.parts.connections.inSlot(slot);
    return connection === null || connection.state === CONNECTION_STATE.CLOSING ? null : connection;
  }

  private lookAtGrant(connection: Connection): void {
    const { grant } = connection;
    if (grant === null) return;
    const standing = this.authenticator.again(grant);
    if (standing !== null) this.admission.stand(connection, standing);
    // A certificate's user always stands: what ends those is their certificate.
    else this.end(connection, grant.kind === "token" ? "the key that the client's token was checked with is gone" : "the client's user was deleted, or has another password now");
  }

  private end(connection: Connection, why: string): void {
    this.parts.counters[SHARD_COUNTER.AUTH_REVOKED]!++;
    this.ended++;
    // It may wait for its own authentication's answer still.
    this.admission.forget(connection);
    this.expel(connection, new ProtocolError("AUTH_REVOKED", REASON.NOT_AUTHORIZED, why));
  }

  private report(): void {
    if (this.ended > 0) this.parts.log.info(`${this.ended} connections were ended: what had let their clients in holds no more`);
    this.ended = 0;
  }
}

/**
 * Goes round through the slots. Those that were there when it was asked for last are all given once from then on; who comes to a slot beyond
 * them was let in by what holds now.
 */
class Round {
  private slot = 0;
  private end = 0;
  private left = 0;

  begin(slotCount: number): void {
    this.end = this.left = slotCount;
  }

  get isDone(): boolean {
    return this.left === 0;
  }

  /** REQUIRES: !isDone */
  next(): number {
    if (this.slot >= this.end) this.slot = 0;
    this.left--;
    return this.slot++;
  }
}
