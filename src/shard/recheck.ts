// Ends connections whose right to be here is over: certificate revoked or its authority taken away, user deleted, password changed, key of
// tokens gone (docs/authentication.md). Clients whose groups are others now go on with those. Thread: the shard's.
//
// When something has changed all connections are gone through, so many a turn; a change meanwhile begins that anew. A client whose handshake
// was under way comes later, verified by what held before: so certificates are gone through once more when none of these can be left.
import type { Authenticator } from "../base/authenticator.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import type { ClientTrust } from "../base/messages.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import type { Reactor } from "../reactor/reactor.js";
import type { Admission } from "./admission.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import type { ShardParts } from "./turn.js";

/** Slots looked at in a turn. */
const SLOTS_PER_TURN = 1024;
/** Signatures verified in a turn: some milliseconds. */
const CERTIFICATES_PER_TURN = 32;
/** Handshake and first packet have their deadlines, 10 s each. */
const LATE_MS = 25_000;

export class Recheck {
  private readonly parts: ShardParts;
  private readonly authenticator: Authenticator;
  private readonly admission: Admission;
  private readonly reactor: Pick<Reactor, "trust" | "peerFault">;
  private readonly expel: (connection: Connection, error: ProtocolError) => void;
  /** By listener: the first of its name, which names its trust. */
  private readonly trustKeys: readonly number[];
  private seenChanges: number;
  /** The next slot to look at; nothing is under way at `connections.slotCount` and beyond. */
  private slot = Number.POSITIVE_INFINITY;
  private withCertificates = false;
  /** Monotonic ms. */
  private againAt = Number.POSITIVE_INFINITY;
  private ended = 0;

  /** @param expel ends a connection, with DISCONNECT to MQTT 5 */
  constructor(parts: ShardParts, authenticator: Authenticator, admission: Admission, reactor: Pick<Reactor, "trust" | "peerFault">, expel: (connection: Connection, error: ProtocolError) => void) {
    this.parts = parts;
    this.authenticator = authenticator;
    this.admission = admission;
    this.reactor = reactor;
    this.expel = expel;
    this.seenChanges = authenticator.changes;
    const { listeners } = parts.start;
    this.trustKeys = listeners.map(({ name }) => listeners.findIndex((other) => other.name === name));
  }

  /** Certificates of a listener's clients are verified by others from now on. */
  useTrust({ listener, ca, crl }: ClientTrust): void {
    const key = this.parts.start.listeners.findIndex(({ name }) => name === listener);
    if (key < 0) return;
    this.reactor.trust(key, ca, crl);
    this.begin(true);
    this.againAt = this.parts.clock.monotonic() + LATE_MS;
  }

  everySecond(): void {
    if (this.authenticator.changes !== this.seenChanges) this.begin(false);
    if (this.parts.clock.monotonic() < this.againAt) return;
    this.againAt = Number.POSITIVE_INFINITY;
    this.begin(true);
  }

  /** @returns false when there is more to do */
  turn(): boolean {
    const { connections } = this.parts;
    if (this.slot >= connections.slotCount) return this.finish();
    const end = Math.min(this.slot + SLOTS_PER_TURN, connections.slotCount);
    for (let certificates = 0; this.slot < end && certificates < CERTIFICATES_PER_TURN; this.slot++) {
      const connection = connections.inSlot(this.slot);
      if (connection === null || connection.state === CONNECTION_STATE.CLOSING) continue;
      if (this.withCertificates && connection.opened.tls?.certificate !== undefined) {
        certificates++;
        const fault = this.reactor.peerFault(connection.id, this.trustKeys[connection.opened.listener] ?? 0);
        if (fault !== "") {
          this.end(connection, `the client's certificate is not accepted any more (${fault})`);
          continue;
        }
      }
      this.lookAtGrant(connection);
    }
    return this.slot >= connections.slotCount && this.finish();
  }

  private begin(withCertificates: boolean): void {
    this.seenChanges = this.authenticator.changes;
    this.withCertificates ||= withCertificates;
    this.slot = 0;
  }

  private lookAtGrant(connection: Connection): void {
    const { grant } = connection;
    if (grant === null) return;
    const standing = this.authenticator.again(grant);
    if (standing === null) this.end(connection, GRANT_FAULTS[grant.kind]);
    else this.admission.stand(connection, standing);
  }

  private end(connection: Connection, why: string): void {
    this.parts.counters[SHARD_COUNTER.AUTH_REVOKED]!++;
    this.ended++;
    // It may wait for its own authentication's answer still.
    this.admission.forget(connection);
    this.expel(connection, new ProtocolError("AUTH_REVOKED", REASON.NOT_AUTHORIZED, why));
  }

  private finish(): true {
    this.slot = Number.POSITIVE_INFINITY;
    this.withCertificates = false;
    if (this.ended > 0) this.parts.log.info(`${this.ended} connections were ended: what had let their clients in holds no more`);
    this.ended = 0;
    return true;
  }
}

const GRANT_FAULTS = {
  certificate: "the client's certificate names nobody any more",
  password: "the client's user was deleted, or has another password now",
  token: "the key that the client's token was checked with is gone",
} as const;
