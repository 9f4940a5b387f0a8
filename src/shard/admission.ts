// Who is let in: from a decoded CONNECT to CONNACK, at once or after waiting for what the authenticator says; AUTH packets; tokens that expire.
// Thread: the shard's; answers come as promises and are acted on in the next turn.
// Order of what is looked at: an authentication method named in CONNECT; the identity in a client certificate; user name and password (or a
// token in its place); `auth.anonymous`. The first that applies decides.
// Invariants: a connection is in `waiting` from its CONNECT until it is let in, refused or gone, and while it authenticates again;
// until ACCEPT the reactor holds what a client sends behind its CONNECT [MQTT-3.1.4-5], so nothing of it is kept here.
import { type Allowed, type Authenticator, type Exchange, type Refusal, type Standing, type Term, UNLIMITED, type Verdict } from "../base/authenticator.js";
import { SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { type ErrorCode, ProtocolError } from "../base/errors.js";
import { ANONYMOUS } from "../base/identity.js";
import { MIB } from "../base/limits.js";
import { depthOf } from "../broker/topic.js";
import { decodeAuth, decodeDisconnect } from "../protocol/mqtt/control-decoder.js";
import { encodeAuth, encodeConnack } from "../protocol/mqtt/control-encoder.js";
import type { Auth, Connect } from "../protocol/mqtt/control-values.js";
import type { Frame } from "../protocol/mqtt/fixed-header.js";
import { PACKET, type ProtocolVersion } from "../protocol/mqtt/packet-types.js";
import { REASON, returnCodeOf } from "../protocol/mqtt/reason-codes.js";
import { tooLarge, violation } from "../protocol/mqtt/refusals.js";
import { isText } from "../protocol/mqtt/utf8.js";
import type { ConnectionOpened } from "../reactor/reactor.js";
import { CLOSE_REASON, COMMAND } from "../ring/layout.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import type { ShardParts } from "./turn.js";

/** Longest wait for an answer, or for a client's next AUTH. More than the longest delay of a refusal. */
const DEADLINE_MS = 30_000;
const WAITING_COUNT_MAX = 10_000;
/** CONNECT packets of clients that wait, together. */
const WAITING_SIZE_MAX = 64 * MIB;

/** What CONNACK says of an enhanced authentication [MQTT-4.12.0-5]. */
export interface Proof {
  readonly method: string;
  readonly data: Buffer;
}

export interface AdmissionActions {
  /** The client is let in: session, CONNACK, ACCEPT. */
  readonly accept: (connection: Connection, connect: Connect, clientId: string, proof: Proof | null) => void;
  /** A connected client must go: DISCONNECT to MQTT 5, then close. */
  readonly expel: (connection: Connection, error: ProtocolError) => void;
  /** Asks for a turn. */
  readonly wake: () => void;
}

interface Waiting {
  readonly connection: Connection;
  /** null: it is connected, and authenticates again. */
  readonly connect: Connect | null;
  readonly clientId: string;
  readonly exchange: Exchange | null;
  readonly size: number;
  /** Monotonic ms. */
  readonly deadline: number;
  /** The verdict is on its way. */
  isAsked: boolean;
}

interface Answer {
  readonly waiting: Waiting;
  readonly verdict: Verdict;
}

export class Admission {
  private readonly parts: ShardParts;
  private readonly authenticator: Authenticator;
  private readonly actions: AdmissionActions;
  /** By connection id, in the order of their deadlines. */
  private readonly waiting = new Map<number, Waiting>();
  private waitingSize = 0;
  private answers: Answer[] = [];
  /** Connections whose right to be here ends. */
  private readonly expiring = new Map<Connection, Term>();
  /** Of those, the soonest of either kind. */
  private soonest = UNLIMITED;
  private order = 0;
  private isSecondOver = false;

  constructor(parts: ShardParts, authenticator: Authenticator, actions: AdmissionActions) {
    this.parts = parts;
    this.authenticator = authenticator;
    this.actions = actions;
  }

  /**
   * A CONNECT that is well-formed and belongs to this shard. Who needs no check (anonymous, certificate) is let in before this returns.
   *
   * @param size bytes of the CONNECT
   * @throws ProtocolError the client is refused
   */
  begin(connection: Connection, connect: Connect, clientId: string, size: number): void {
    connection.connectOrder = ++this.order;
    if (connect.authenticationMethod !== undefined) {
      this.beginExchange(connection, connect, clientId, size, connect.authenticationMethod);
      return;
    }
    const standing = this.standingAtOnce(connection.opened, connect);
    if (standing !== null) {
      this.admit(connection, connect, clientId, { isAllowed: true, ...standing, ...UNLIMITED }, null);
      return;
    }
    const { userName, password } = connect;
    const waiting = this.wait(connection, connect, clientId, size, null);
    this.ask(waiting, this.authenticator.check({ userName, password, clientId, peer: connection.opened.peer }));
  }

  /** A packet of a client that has no CONNACK yet: only enhanced authentication lets any come. */
  beforeConnack(connection: Connection, bytes: Uint8Array, frame: Frame): void {
    const waiting = this.waiting.get(connection.id);
    if (waiting === undefined) return;
    try {
      if (frame.type === PACKET.DISCONNECT) {
        decodeDisconnect(bytes, frame, connection.protocolVersion);
        this.close(connection, CLOSE_REASON.DISCONNECTED);
        return;
      }
      if (frame.type !== PACKET.AUTH || waiting.isAsked) throw violation("before CONNACK a client sends only the AUTH that it is asked for, or DISCONNECT [MQTT-3.1.2-30]");
      const auth = decodeAuth(bytes, frame, connection.protocolVersion);
      this.checkMethod(connection, auth);
      if (auth.reasonCode !== REASON.CONTINUE_AUTHENTICATION) throw violation("the AUTH that answers the gateway's must say 0x18 [MQTT-4.12.0-3]");
      this.step(waiting, auth.authenticationData);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.refuse(connection, connection.protocolVersion, error);
    }
  }

  /** AUTH of a connected client: it authenticates again (MQTT 5 §4.12.1); meanwhile it goes on as it was. @throws ProtocolError */
  again(connection: Connection, bytes: Uint8Array, frame: Frame): void {
    const auth = decodeAuth(bytes, frame, connection.protocolVersion);
    const method = connection.authenticationMethod;
    if (method === null) throw violation("AUTH came from a client that named no authentication method in CONNECT [MQTT-4.12.0-7]");
    this.checkMethod(connection, auth);
    let waiting = this.waiting.get(connection.id);
    if (auth.reasonCode === REASON.REAUTHENTICATE) {
      if (waiting !== undefined) throw violation("an authentication is under way already (§4.12.1)");
      waiting = this.wait(connection, null, connection.session?.clientId ?? "", 0, this.authenticator.begin(method, connection.opened.peer));
    } else if (auth.reasonCode !== REASON.CONTINUE_AUTHENTICATION || waiting === undefined || waiting.isAsked) {
      throw violation("this AUTH answers nothing (§4.12.1)");
    }
    this.step(waiting, auth.authenticationData);
  }

  /** Acts on what the authenticator answered since the last turn, and once a second on deadlines. */
  turn(): void {
    if (this.isSecondOver) {
      this.isSecondOver = false;
      this.endOverdue(this.parts.clock.monotonic());
      this.expire(this.parts.clock.wall(), this.parts.clock.monotonic());
    }
    if (this.answers.length === 0) return;
    const answers = this.answers;
    this.answers = [];
    for (const { waiting, verdict } of answers) {
      // It is gone, or its deadline has passed.
      if (this.waiting.get(waiting.connection.id) === waiting) this.conclude(waiting, verdict, null);
    }
  }

  /** The next turn looks at the clock. */
  everySecond(): void {
    this.isSecondOver = true;
  }

  /** The connection is gone. */
  forget(connection: Connection): void {
    this.endWait(connection);
    this.expiring.delete(connection);
  }

  /** The gateway stops: those who wait hear it, too. */
  refuseAll(): void {
    for (const { connection, connect } of this.waiting.values()) {
      if (connect === null) continue;
      this.write(connection, encodeConnack({ sessionPresent: false, reasonCode: REASON.SERVER_UNAVAILABLE }, connection.protocolVersion, connection.packetSizeMax));
      connection.state = CONNECTION_STATE.CLOSING;
    }
    this.waiting.clear();
    this.waitingSize = 0;
    this.showWaiting();
  }

  /**
   * Refuses in the client's version [MQTT-3.1.4-1], and closes: without an answer where 3.1.1 has no return code for it [MQTT3-3.1.4-1] [MQTT3-3.2.2-6].
   *
   * @param version 0: no MQTT, closed without an answer
   * @param detail  for the log alone
   */
  refuse(connection: Connection, version: ProtocolVersion | 0, error: ProtocolError, detail = error.message): void {
    const { counters, log } = this.parts;
    counters[SHARD_COUNTER.CONNECTS_REFUSED]!++;
    const isForbidden = error.code === "MQTT_NOT_AUTHORISED" || error.code === "AUTH_CREDENTIALS";
    if (isForbidden) counters[SHARD_COUNTER.REFUSED_NOT_AUTHORISED]!++;
    log.warn(`refused a CONNECT: ${detail}`, { code: error.code, peer: connection.opened.peer });
    if (version === 5 || (version === 4 && returnCodeOf(error.reason) !== null)) {
      const { serverReference } = this.parts.start.limits;
      const isElsewhere = serverReference !== "" && REASONS_TO_GO_ELSEWHERE.includes(error.reason);
      const refusal = { sessionPresent: false, reasonCode: isElsewhere ? REASON.USE_ANOTHER_SERVER : error.reason, reasonString: error.message, ...(isElsewhere ? { serverReference } : {}) };
      this.write(connection, encodeConnack(refusal, version, connection.packetSizeMax));
    }
    const isLimit = error.code === "MQTT_SESSIONS" || error.code === "MQTT_CONNECTIONS";
    this.close(connection, isForbidden || error.code === "MQTT_FORBIDDEN" ? CLOSE_REASON.NOT_AUTHORISED : isLimit ? CLOSE_REASON.LIMIT : CLOSE_REASON.PROTOCOL_ERROR);
  }

  /** @returns null when credentials are to be checked. @throws ProtocolError */
  private standingAtOnce(opened: ConnectionOpened, connect: Connect): Standing | null {
    const { start } = this.parts;
    const certificate = opened.tls?.certificate;
    const rule = start.listeners[opened.listener]?.identity ?? "none";
    if (certificate !== undefined && rule !== "none") {
      const user = rule === "common_name" ? certificate.commonName : valueOfName(certificate.alternativeNames[0] ?? "");
      if (user === "") throw forbidden(`the client's certificate has no ${rule.replaceAll("_", " ")}, which this listener takes for the user`);
      return this.authenticator.ofCertificate(user);
    }
    // Credentials that are given are checked, also where none are asked for: what is wrong in a client shows at once.
    if (connect.userName !== undefined || connect.password !== undefined) return null;
    const isAllowed = start.anonymous === "always" || certificate !== undefined || (start.anonymous === "loopback" && opened.isLoopback);
    // Over WebSocket the peer may be a proxy on this machine, which speaks for clients elsewhere.
    const through = !opened.isLoopback && LOOPBACK.test(opened.peer) ? ", by way of a proxy or under another host's name," : "";
    if (!isAllowed) throw forbidden(`${opened.peer}${through} gave neither credentials nor a certificate, and auth.anonymous is ${start.anonymous}`);
    return { identity: ANONYMOUS, grant: null };
  }

  /** Enhanced authentication (MQTT 5 §4.12). */
  private beginExchange(connection: Connection, connect: Connect, clientId: string, size: number, method: string): void {
    const exchange = this.authenticator.begin(method, connection.opened.peer);
    if (exchange === null) {
      throw new ProtocolError("MQTT_NOT_AUTHORISED", REASON.BAD_AUTHENTICATION_METHOD, `the authentication method ${JSON.stringify(method)} is not known here [MQTT-4.12.0-1]`);
    }
    connection.authenticationMethod = method;
    const waiting = this.wait(connection, connect, clientId, size, exchange);
    // Its AUTH packets are wanted: the hold ends, and whatever else comes is refused.
    this.parts.commands.plain(COMMAND.ACCEPT, connection.id);
    this.step(waiting, connect.authenticationData);
  }

  private checkMethod(connection: Connection, auth: Auth): void {
    if (auth.authenticationMethod === connection.authenticationMethod) return;
    throw violation("the method in AUTH is not the one in CONNECT [MQTT-4.12.0-5] [MQTT-4.12.1-1]");
  }

  /** Gives the client's data to its exchange, and its answer to the client. */
  private step(waiting: Waiting, data: Buffer | undefined): void {
    const { connection } = waiting;
    const result = waiting.exchange!.step(data);
    if (result instanceof Promise) this.ask(waiting, result);
    else if ("challenge" in result) this.sendAuth(connection, REASON.CONTINUE_AUTHENTICATION, result.challenge);
    else this.conclude(waiting, result.verdict, result.data);
  }

  /** [MQTT-4.12.0-2] [MQTT-4.12.0-5] */
  private sendAuth(connection: Connection, reasonCode: number, data: Buffer): void {
    const packet = encodeAuth({ reasonCode, authenticationMethod: connection.authenticationMethod!, authenticationData: data });
    if (packet.length > connection.packetSizeMax) throw tooLarge("an AUTH does not fit the client's maximum packet size [MQTT-3.1.2-24]");
    this.write(connection, packet);
  }

  private wait(connection: Connection, connect: Connect | null, clientId: string, size: number, exchange: Exchange | null): Waiting {
    if (this.waiting.size >= WAITING_COUNT_MAX || this.waitingSize + size > WAITING_SIZE_MAX) {
      throw new ProtocolError("AUTH_UNAVAILABLE", REASON.SERVER_BUSY, "too many clients wait to be let in");
    }
    const waiting: Waiting = { connection, connect, clientId, exchange, size, deadline: this.parts.clock.monotonic() + DEADLINE_MS, isAsked: false };
    this.waiting.set(connection.id, waiting);
    this.waitingSize += size;
    if (connect !== null) connection.state = CONNECTION_STATE.WAITING;
    this.showWaiting();
    return waiting;
  }

  private ask(waiting: Waiting, verdict: Promise<Verdict>): void {
    waiting.isAsked = true;
    void verdict.then((answer) => {
      this.answers.push({ waiting, verdict: answer });
      this.actions.wake();
    });
  }

  private conclude(waiting: Waiting, verdict: Verdict, data: Buffer | null): void {
    const { connection, connect, clientId } = waiting;
    if (!verdict.isAllowed) {
      const [code, reason, text] = REFUSALS[verdict.refusal];
      this.deny(waiting, new ProtocolError(code, reason, text), verdict.detail);
      return;
    }
    if (verdict.grant !== null && this.authenticator.again(verdict.grant) === null) {
      const [code, reason, text] = REFUSALS.credentials;
      this.deny(waiting, new ProtocolError(code, reason, text), "what the client gave held no more when its turn came");
      return;
    }
    this.endWait(connection);
    if (connect === null) {
      this.renew(connection, verdict, data!);
      return;
    }
    try {
      this.admit(connection, connect, clientId, verdict, data === null ? null : { method: connection.authenticationMethod!, data });
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.refuse(connection, connection.protocolVersion, error);
    }
  }

  private deny(waiting: Waiting, error: ProtocolError, detail: string): void {
    const { connection, connect } = waiting;
    this.endWait(connection);
    if (connect !== null) this.refuse(connection, connect.protocolVersion, error, detail);
    // [MQTT-4.12.1-2]; DISCONNECT has no word for bad credentials.
    else this.actions.expel(connection, forbidden("the client did not authenticate again"));
  }

  private renew(connection: Connection, allowed: Allowed, data: Buffer): void {
    const { identity, grant } = allowed;
    if (identity.user !== connection.identity.user) {
      this.actions.expel(connection, forbidden("a client that authenticates again stays the user that it was"));
      return;
    }
    this.stand(connection, { identity, grant });
    this.note(connection, allowed);
    this.sendAuth(connection, REASON.SUCCESS, data);
  }

  /** A client that goes on is the same user, perhaps in other groups now, and by another grant. */
  stand(connection: Connection, { identity, grant }: Standing): void {
    connection.identity = identity;
    connection.grant = grant;
    const { session } = connection;
    if (session === null) return;
    this.parts.authorisation.identify(session, identity);
    this.parts.shared.changed(session);
  }

  /** @throws ProtocolError what has nothing to do with who it is */
  private admit(connection: Connection, connect: Connect, clientId: string, allowed: Allowed, proof: Proof | null): void {
    this.checkRoom(connect, clientId);
    const { sessions, connections } = this.parts;
    const holder = connections.get(sessions.get(clientId)?.connection ?? 0);
    if (holder !== null && holder.connectOrder > connection.connectOrder) {
      // Its client has come back meanwhile, and that CONNECT was answered sooner: this is the older one.
      this.close(connection, CLOSE_REASON.TAKEN_OVER);
      return;
    }
    connection.identity = allowed.identity;
    connection.grant = allowed.grant;
    this.checkOwner(connection, clientId);
    this.note(connection, allowed);
    this.actions.accept(connection, connect, clientId, proof);
  }

  /** A session and what waits in it are its user's: nobody else goes on with them, ends them, or ends its connection. @throws ProtocolError */
  private checkOwner(connection: Connection, clientId: string): void {
    const { start, sessions, counters } = this.parts;
    const owner = sessions.get(clientId)?.identity.user ?? "";
    if (owner === "" || owner === connection.identity.user || start.limits.isSessionAnybodys) return;
    counters[SHARD_COUNTER.REFUSED_SESSION_OWNER]!++;
    throw new ProtocolError("MQTT_SESSION_OWNER", REASON.CLIENT_ID_NOT_VALID, "the client id is another user's");
  }

  private checkRoom(connect: Connect, clientId: string): void {
    const { start, sessions, storeCounters, queues, counters } = this.parts;
    if (connect.protocolVersion === 4 && storeCounters[STORE_COUNTER.BLOCKED] === 1) {
      // Its next PUBLISH would close it again, since 3.1.1 has no word for that: better it waits outside.
      throw new ProtocolError("STORE_FAILED", REASON.SERVER_UNAVAILABLE, "the journal cannot be written; 3.1.1 clients are let in again when it can");
    }
    const { will } = connect;
    if (will !== undefined && start.limits.validatePayloadFormat && will.isText && !isText(will.payload, 0, will.payload.length)) {
      throw new ProtocolError("MQTT_PAYLOAD_FORMAT", REASON.PAYLOAD_FORMAT_INVALID, "the will's payload is said to be UTF-8 and is not (§3.1.3.2.3)");
    }
    if (will !== undefined && (depthOf(will.topic) > start.limits.topicDepthMax || Buffer.byteLength(will.topic) > start.limits.topicLengthMax)) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_NAME_INVALID, `the will's topic has more than ${start.limits.topicDepthMax} levels or ${start.limits.topicLengthMax} bytes`);
    }
    if (!sessions.has(clientId) && queues.totals.sessions >= start.limits.sessionsMax) {
      counters[SHARD_COUNTER.REFUSED_SESSIONS]!++;
      throw new ProtocolError("MQTT_SESSIONS", REASON.QUOTA_EXCEEDED, `there are ${start.limits.sessionsMax} sessions already, and no more are kept`);
    }
  }

  private note(connection: Connection, { expiresAt, validUntil }: Term): void {
    if (Math.min(expiresAt, validUntil) === Number.POSITIVE_INFINITY) {
      this.expiring.delete(connection);
      return;
    }
    const term = { expiresAt, validUntil };
    this.expiring.set(connection, term);
    this.soonest = soonerOf(this.soonest, term);
  }

  private expire(wall: number, monotonic: number): void {
    const isOver = ({ expiresAt, validUntil }: Term): boolean => expiresAt <= wall || validUntil <= monotonic;
    if (!isOver(this.soonest)) return;
    this.soonest = UNLIMITED;
    for (const [connection, term] of this.expiring) {
      if (!isOver(term)) {
        this.soonest = soonerOf(this.soonest, term);
        continue;
      }
      this.expiring.delete(connection);
      if (connection.state !== CONNECTION_STATE.CONNECTED) continue;
      this.parts.counters[SHARD_COUNTER.AUTH_EXPIRED]!++;
      const why = connection.grant?.kind === "token" ? "the client's token has expired" : "the time for which the client was let in is over";
      this.actions.expel(connection, new ProtocolError("MQTT_NOT_AUTHORISED", REASON.MAXIMUM_CONNECT_TIME, why));
    }
  }

  private endOverdue(now: number): void {
    for (const waiting of this.waiting.values()) {
      if (waiting.deadline > now) break;
      this.parts.counters[SHARD_COUNTER.AUTH_TIMEOUTS]!++;
      const isOurs = waiting.isAsked;
      const error = new ProtocolError("AUTH_UNAVAILABLE", isOurs ? REASON.SERVER_BUSY : REASON.NOT_AUTHORIZED, isOurs ? "the authentication took too long" : "the client did not go on with its authentication");
      this.deny(waiting, error, error.message);
    }
  }

  private endWait(connection: Connection): void {
    const waiting = this.waiting.get(connection.id);
    if (waiting === undefined) return;
    this.waiting.delete(connection.id);
    this.waitingSize -= waiting.size;
    this.showWaiting();
  }

  private showWaiting(): void {
    this.parts.counters[SHARD_COUNTER.AUTH_WAITING] = this.waiting.size;
  }

  private close(connection: Connection, reason: number): void {
    this.endWait(connection);
    this.parts.commands.word(COMMAND.CLOSE, connection.id, reason);
    connection.state = CONNECTION_STATE.CLOSING;
  }

  /** What a client does not take is not sent [MQTT-3.1.2-24]. */
  private write(connection: Connection, packet: Buffer): void {
    if (packet.length > connection.packetSizeMax) return;
    this.parts.commands.bytes.set(packet, this.parts.commands.data(connection.id, packet.length));
  }
}

const LOOPBACK = /^(127\.|::1$)/;

/** Refusals that another server might not have. */
const REASONS_TO_GO_ELSEWHERE: readonly number[] = [REASON.QUOTA_EXCEEDED, REASON.SERVER_UNAVAILABLE, REASON.SERVER_BUSY];

/** What a refusal is on the wire; it tells neither what was wrong nor whether the user exists. */
const REFUSALS: Readonly<Record<Refusal, readonly [ErrorCode, number, string]>> = {
  credentials: ["AUTH_CREDENTIALS", REASON.BAD_CREDENTIALS, "bad user name or password"],
  forbidden: ["MQTT_NOT_AUTHORISED", REASON.NOT_AUTHORIZED, "not authorised"],
  slowed: ["AUTH_CREDENTIALS", REASON.CONNECTION_RATE_EXCEEDED, "too many attempts; try again later"],
  busy: ["AUTH_UNAVAILABLE", REASON.SERVER_BUSY, "too many clients authenticate at once; try again later"],
  unavailable: ["AUTH_UNAVAILABLE", REASON.SERVER_UNAVAILABLE, "credentials cannot be checked now; try again later"],
};

function soonerOf(a: Term, b: Term): Term {
  return { expiresAt: Math.min(a.expiresAt, b.expiresAt), validUntil: Math.min(a.validUntil, b.validUntil) };
}

function forbidden(detail: string): ProtocolError {
  return new ProtocolError("MQTT_NOT_AUTHORISED", REASON.NOT_AUTHORIZED, detail);
}

/** "DNS:sensor-7.plant" -> "sensor-7.plant" */
function valueOfName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}
