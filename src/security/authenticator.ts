// The gateway's own authenticator: password file, tokens, HTTP back-end, SCRAM; slowed per address. One per shard, on its thread; hashing and
// signatures are done in libuv's pool, so nothing here holds the shard up.
// Order: what looks like a token is one, when tokens are configured; then the password file decides about the users that it knows; then the HTTP
// back-end, when there is one; else the client is refused.
import { type Attempt, type Authenticator, type AuthOptions, type Denied, type Exchange, type ExchangeStep, type Grant, type Standing, UNLIMITED, type Verdict } from "../base/authenticator.js";
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { StartError } from "../base/errors.js";
import type { Identity } from "../base/identity.js";
import type { Log } from "../base/log.js";
import { AnswerCache } from "./answer-cache.js";
import { Gate } from "./gate.js";
import { HttpBackend } from "./http-backend.js";
import { LiveFile } from "./live-file.js";
import { parsePasswords, type PasswordEntry, type PasswordTable } from "./password-file.js";
import { readPrivateFile } from "./private-file.js";
import { SCRAM_SHA_256, ScramServer } from "./scram.js";
import { keysOfNobody } from "./scram-keys.js";
import { hashOfNobody, isPasswordOf } from "./scrypt.js";
import { SlowDown } from "./slow-down.js";
import { checkToken, isStanding, isToken, readKeySet, readSecret, type TokenGrant, type TokenKeys } from "./tokens.js";

/** Hashes at once: the pool has four threads for all shards together. */
const HASHING_MAX = 2;
/** Some seconds of hashing. */
const HASHING_WAITING_MAX = 256;
const TOKENS_AT_ONCE_MAX = 16;
const TOKENS_WAITING_MAX = 10_000;
const NAME_SHOWN_MAX = 128;

const NOBODY: PasswordTable = { users: new Map(), secret: Buffer.alloc(0) };
const NO_KEYS: TokenKeys = { algorithms: [], keyFor: () => new Uint8Array(), marksOf: () => [] };

/** A client that gave this user's password, or proved that it knows it. */
interface PasswordGrant extends Grant {
  readonly kind: "password";
  readonly entry: PasswordEntry;
}

interface CertificateGrant extends Grant {
  readonly kind: "certificate";
  readonly user: string;
}

type OwnGrant = PasswordGrant | CertificateGrant | TokenGrant;

export interface AuthenticatorParts {
  readonly options: AuthOptions;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the shard. */
  readonly counters: Float64Array;
  /** Of all shards (slow-down.ts). */
  readonly attempts: SharedArrayBuffer;
}

export class GatewayAuthenticator implements Authenticator {
  changes = 0;
  private readonly parts: AuthenticatorParts;
  private readonly passwords: LiveFile<PasswordTable>;
  private readonly tokenKeys: LiveFile<TokenKeys> | null;
  private readonly http: HttpBackend | null;
  private readonly backendToken: LiveFile<string> | null;
  private readonly slowDown: SlowDown;
  private readonly hashing: Gate;
  private readonly signatures: Gate;
  /** Passwords that were right: a fleet that comes back is let in without a second hash each. Void when the file changes. */
  private readonly right = new AnswerCache<true>();
  private readonly nobody = hashOfNobody();
  private readonly held = new Set<NodeJS.Timeout>();

  constructor(parts: AuthenticatorParts) {
    const { options, log, clock, counters } = parts;
    const { tokens, http } = options;
    this.parts = parts;
    this.passwords = liveFile({ path: options.passwordFile, read: readPasswords }, NOBODY, log, () => this.passwordsChanged());
    this.tokenKeys = tokens === null ? null : liveFile(tokenFile(tokens.secretFile, tokens.keySetFile), NO_KEYS, log, () => this.changes++);
    const token = http === null || http.tokenFile === "" ? null : liveFile({ path: http.tokenFile, read: readToken }, "", log, () => undefined);
    this.backendToken = token;
    this.http = http === null ? null : new HttpBackend(http, () => token?.current ?? "", clock, counters);
    this.hashing = new Gate(clock, HASHING_MAX, HASHING_WAITING_MAX);
    this.signatures = new Gate(clock, TOKENS_AT_ONCE_MAX, TOKENS_WAITING_MAX);
    this.slowDown = new SlowDown(parts.attempts);
  }

  ofCertificate(user: string): Standing {
    const grant: CertificateGrant = { kind: "certificate", user };
    return { identity: { user, groups: this.passwords.current.users.get(user)?.groups ?? [] }, grant };
  }

  again(grant: Grant): Standing | null {
    const own = grant as OwnGrant;
    if (own.kind === "certificate") return this.ofCertificate(own.user);
    if (own.kind === "token") return this.tokenKeys !== null && isStanding(own, this.tokenKeys.current) ? { identity: own.identity, grant: own } : null;
    const entry = this.passwords.current.users.get(own.entry.user);
    return entry !== undefined && hasSamePassword(entry, own.entry) ? standingOf(entry) : null;
  }

  async check(attempt: Attempt): Promise<Verdict> {
    const { tokens } = this.parts.options;
    if (this.tokenKeys !== null && tokens !== null && attempt.password !== undefined && isToken(attempt.password)) {
      const { password } = attempt;
      const keys = this.tokenKeys.current;
      const verdict = await this.signatures.run(() => checkToken(password, keys, tokens, this.parts.clock.wall()));
      // Nobody guesses a signature: a fleet whose tokens have expired need not keep others from its address waiting.
      if (verdict?.isAllowed === false) this.parts.counters[SHARD_COUNTER.AUTH_FAILURES]!++;
      return verdict ?? this.busy();
    }
    const slowed = this.slowed(attempt.peer);
    if (slowed !== null) return slowed;
    return this.settle(attempt.peer, await this.checkPassword(attempt));
  }

  begin(method: string, peer: string): Exchange | null {
    // Without any user that could use it the method does not exist.
    if (method !== SCRAM_SHA_256 || this.passwords.current.users.size === 0) return null;
    // Whose keys the proof is checked with: the file may change before it comes.
    let entry: PasswordEntry | undefined;
    const server = new ScramServer((user) => {
      entry = this.passwords.current.users.get(user);
      return entry?.scram ?? keysOfNobody(this.passwords.current.secret, user);
    });
    return { step: (data) => this.stepScram(server, () => entry, peer, data) };
  }

  /** Sees at once what has changed, instead of within a second: two looks agree. */
  look(): void {
    for (let i = 0; i < 2; i++) {
      this.passwords.look();
      this.tokenKeys?.look();
    }
  }

  close(): void {
    this.passwords.close();
    this.tokenKeys?.close();
    this.backendToken?.close();
    this.http?.close();
    for (const timer of this.held) clearTimeout(timer);
  }

  private passwordsChanged(): void {
    this.right.clear();
    this.changes++;
  }

  private stepScram(server: ScramServer, entryOf: () => PasswordEntry | undefined, peer: string, data: Buffer | undefined): ExchangeStep | Promise<Denied> {
    const slowed = this.slowed(peer);
    if (slowed !== null) return Promise.resolve(slowed);
    const result = server.step(data);
    if ("challenge" in result) return result;
    if ("fault" in result) return this.hold(peer, { isAllowed: false, refusal: "credentials", detail: result.fault });
    const entry = entryOf();
    if (entry === undefined) return this.hold(peer, { isAllowed: false, refusal: "credentials", detail: "a SCRAM proof for a user that is not known" });
    return { verdict: { isAllowed: true, ...standingOf(entry), ...UNLIMITED }, data: result.proof };
  }

  private async checkPassword(attempt: Attempt): Promise<Verdict> {
    const { userName, password } = attempt;
    const entry = userName === undefined ? undefined : this.passwords.current.users.get(userName);
    if (this.http !== null && entry === undefined) return this.http.check(attempt, () => this.slowed(attempt.peer));
    if (userName === undefined || password === undefined) return { isAllowed: false, refusal: "credentials", detail: "a user name without a password, or a password without a user name and no token" };
    const hash = entry?.scrypt ?? this.nobody;
    const name = this.right.nameOf(userName, password, hash.hash);
    // Others from there may have failed while this one waited for its turn: then it is not worth a hash.
    const result = this.right.get(name) !== undefined || (await this.hashing.run(async () => this.slowed(attempt.peer) ?? isPasswordOf(hash, password)));
    if (result === null) return this.busy();
    if (typeof result === "object") return result;
    if (!result || entry === undefined) {
      const why = entry === undefined ? "is not known" : entry.scrypt === null ? "has no password" : "gave a wrong password";
      return { isAllowed: false, refusal: "credentials", detail: `the user ${shown(userName)} ${why}` };
    }
    this.right.set(name, true, 0);
    return { isAllowed: true, ...standingOf(entry), ...UNLIMITED };
  }

  /** Refusals for wrong credentials come late; what else it is comes at once. */
  private settle(peer: string, verdict: Verdict): Verdict | Promise<Denied> {
    return verdict.isAllowed || verdict.refusal !== "credentials" ? verdict : this.hold(peer, verdict);
  }

  private hold(peer: string, verdict: Denied): Promise<Denied> {
    this.parts.counters[SHARD_COUNTER.AUTH_FAILURES]!++;
    const delayMs = this.slowDown.failed(peer);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.held.delete(timer);
        this.slowDown.answered(peer);
        resolve(verdict);
      }, delayMs);
      this.held.add(timer);
    });
  }

  /** @returns null while attempts from the address are looked at */
  private slowed(peer: string): Denied | null {
    if (!this.slowDown.isBlocked(peer)) return null;
    this.parts.counters[SHARD_COUNTER.AUTH_SLOWED]!++;
    return { isAllowed: false, refusal: "slowed", detail: `too many wrong attempts from ${peer}: this one was not looked at` };
  }

  private busy(): Denied {
    this.parts.counters[SHARD_COUNTER.AUTH_BUSY]!++;
    return { isAllowed: false, refusal: "busy", detail: "more clients authenticate at once than can wait" };
  }
}

function standingOf(entry: PasswordEntry): { readonly identity: Identity; readonly grant: PasswordGrant } {
  return { identity: { user: entry.user, groups: entry.groups }, grant: { kind: "password", entry } };
}

/** A password that was set again is another one, also when it reads the same: its salt is. */
function hasSamePassword(a: PasswordEntry, b: PasswordEntry): boolean {
  return isSame(a.scrypt?.hash, b.scrypt?.hash) && isSame(a.scram?.storedKey, b.scram?.storedKey);
}

function isSame(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b);
}

/** A name that somebody gave, for the log. */
function shown(name: string): string {
  return JSON.stringify(name.slice(0, NAME_SHOWN_MAX));
}

/**
 * Reads everything once, so that what is wrong stops the start and not a thread.
 *
 * @throws StartError AUTH_FILE_BAD naming the file and what to do
 */
export function checkAuthFiles(options: AuthOptions, hasFile: (path: string) => boolean): void {
  if (hasFile(options.passwordFile)) readPasswords(options.passwordFile);
  if (options.tokens !== null) {
    const { path, read } = tokenFile(options.tokens.secretFile, options.tokens.keySetFile);
    read(path);
  }
  if (options.http !== null && options.http.tokenFile !== "") readToken(options.http.tokenFile);
}

function readToken(path: string): string {
  const token = readPrivateFile(path).toString("latin1").trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw new StartError("AUTH_FILE_BAD", `${path} is empty, or holds more than one word of plain characters`);
  return token;
}

function readPasswords(path: string): PasswordTable {
  return parsePasswords(path, readPrivateFile(path).toString("utf8"));
}

interface SecretFile<T> {
  readonly path: string;
  readonly read: (path: string) => T;
}

/** What is wrong with such a file at the gateway's start was found before (checkAuthFiles); a shard that starts again later begins with nobody. */
function liveFile<T>({ path, read }: SecretFile<T>, absent: T, log: Log, onChange: () => void): LiveFile<T> {
  return new LiveFile<T>({
    paths: [path], read: () => read(path), absent, log, refusal: `${path} cannot be used; what was read before stays in force`,
    apply: (value) => {
      if (value !== absent) log.info(`${path} was read again`);
      onChange();
    },
  });
}

function tokenFile(secretFile: string, keySetFile: string): SecretFile<TokenKeys> {
  return secretFile === "" ? { path: keySetFile, read: readKeySet } : { path: secretFile, read: readSecret };
}
