// Asks a web service whether a client may connect: POST {"username","password","client_id","peer"}; 200 {"allow","user"?,"groups"?,"expire_at"?} is
// an answer, everything else is a failure. Thread: the shard's. Bounds: so many requests at once and waiting, a deadline, ANSWER_SIZE_MAX bytes.
// A client that is connected cannot be asked about: that takes its password, which is not kept. It is sent away instead, when the service
// (`expire_at`) or the operator (`auth.http.valid_for`) says, and asked about when it comes again.
import { Agent as HttpAgent, request as requestHttp, type ClientRequest } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { type Attempt, type Denied, type HttpOptions, type Term, UNLIMITED, type Verdict } from "../base/authenticator.js";
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { AnswerCache } from "./answer-cache.js";
import { Gate } from "./gate.js";

const ANSWER_SIZE_MAX = 64 * 1024;
const WAITING_MAX = 2000;
/** A refusal is remembered for this long at most: a password that was just set works soon. */
const REFUSAL_CACHE_MAX_MS = 5_000;
const GROUPS_MAX = 256;
const NAME_SHOWN_MAX = 128;
/** Clients that came together, as after a restart, go at different times: each sooner by up to this share of what it is valid for. */
const SPREAD = 0.25;
/** Whoever names a greater number counts milliseconds: so many of those were over in 2001. */
const SECONDS_MAX = 1e12;

export class HttpBackend {
  private readonly options: HttpOptions;
  private readonly clock: Clock;
  private readonly counters: Float64Array;
  private readonly gate: Gate;
  private readonly cache = new AnswerCache<Verdict>();
  private readonly agent: HttpAgent;
  private readonly token: () => string;

  /** @param token for the header Authorization; "" = none */
  constructor(options: HttpOptions, token: () => string, clock: Clock, counters: Float64Array) {
    this.options = options;
    this.token = token;
    this.clock = clock;
    this.counters = counters;
    this.gate = new Gate(clock, options.concurrency, WAITING_MAX);
    const agent = { keepAlive: true, maxSockets: options.concurrency, maxFreeSockets: options.concurrency };
    this.agent = options.url.startsWith("https:") ? new HttpsAgent(agent) : new HttpAgent(agent);
  }

  /** @param refuse asked when the attempt's turn comes: it may not be worth a request any more */
  async check(attempt: Attempt, refuse: () => Denied | null): Promise<Verdict> {
    const { cacheMs, staleMs } = this.options;
    const name = this.cache.nameOf(attempt.userName ?? "", attempt.password ?? "", attempt.clientId, attempt.password === undefined ? "0" : "1");
    const known = this.cache.get(name);
    const age = known === undefined ? Number.POSITIVE_INFINITY : this.clock.monotonic() - known.at;
    if (known !== undefined && age < (known.value.isAllowed ? cacheMs : Math.min(cacheMs, REFUSAL_CACHE_MAX_MS)) && !this.isOver(known.value)) return known.value;
    let verdict: Verdict | null;
    try {
      verdict = await this.gate.run(async () => refuse() ?? this.ask(attempt, name));
    } catch (error) {
      this.counters[SHARD_COUNTER.AUTH_HTTP_FAILURES]!++;
      // While the service is away those whom it let in lately go on, for as long as the operator says.
      if (known?.value.isAllowed === true && age < cacheMs + staleMs && known.value.expiresAt > this.clock.wall()) return { ...known.value, validUntil: this.validUntil() };
      return { isAllowed: false, refusal: "unavailable", detail: `the back-end of auth.http gave no answer: ${(error as Error).message}` };
    }
    if (verdict === null) {
      this.counters[SHARD_COUNTER.AUTH_BUSY]!++;
      return { isAllowed: false, refusal: "busy", detail: "more clients wait for the back-end of auth.http than it answers in time" };
    }
    return verdict;
  }

  close(): void {
    this.agent.destroy();
  }

  private isOver(verdict: Verdict): boolean {
    return verdict.isAllowed && (verdict.expiresAt <= this.clock.wall() || verdict.validUntil <= this.clock.monotonic());
  }

  /** Of a client that is let in now. */
  private validUntil(): number {
    const { validForMs } = this.options;
    return validForMs === 0 ? UNLIMITED.validUntil : this.clock.monotonic() + validForMs * (1 - SPREAD * Math.random());
  }

  /** @throws Error why there is no answer */
  private async ask(attempt: Attempt, name: string): Promise<Verdict> {
    this.counters[SHARD_COUNTER.AUTH_HTTP_REQUESTS]!++;
    const body = JSON.stringify({ username: attempt.userName ?? null, password: attempt.password?.toString("utf8") ?? null, client_id: attempt.clientId, peer: attempt.peer });
    const text = await this.post(Buffer.from(body));
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Error("it answered 200 with something else than JSON");
    }
    const verdict = this.settled(verdictOf(answer, attempt, this.validUntil()), attempt);
    if (this.options.cacheMs > 0) this.cache.set(name, verdict, this.clock.monotonic());
    return verdict;
  }

  private settled(verdict: Verdict, attempt: Attempt): Verdict {
    if (!this.isOver(verdict)) return verdict;
    return { isAllowed: false, refusal: "forbidden", detail: `the back-end of auth.http lets ${shown(attempt)} in until a time that is over by this gateway's clock ("expire_at")` };
  }

  /** @throws Error */
  private async post(body: Buffer): Promise<string> {
    const { deadlineMs } = this.options;
    const until = this.clock.monotonic() + deadlineMs;
    try {
      return await this.postBy(this.agent, body, deadlineMs);
    } catch (error) {
      if (!(error instanceof KeptConnectionLost)) throw error;
      return this.postBy(false, body, Math.max(0, until - this.clock.monotonic()));
    }
  }

  /** @param agent false: by a connection of its own */
  private postBy(agent: HttpAgent | false, body: Buffer, deadlineMs: number): Promise<string> {
    const { url } = this.options;
    const token = this.token();
    const headers = { "content-type": "application/json", "content-length": body.length, accept: "application/json", ...(token === "" ? {} : { authorization: `Bearer ${token}` }) };
    const options = { method: "POST", headers, agent };
    return new Promise((resolve, reject) => {
      const request: ClientRequest = url.startsWith("https:") ? requestHttps(url, options) : requestHttp(url, options);
      // Over all: name, connection, answer. A timeout of the socket would start anew with each byte.
      const timer = setTimeout(() => request.destroy(new Error(`nothing within ${this.options.deadlineMs} ms`)), deadlineMs);
      const end = (error: Error | null, text = ""): void => {
        clearTimeout(timer);
        if (error === null) resolve(text);
        else reject(error);
      };
      let hasAnswered = false;
      request.on("error", (error: NodeJS.ErrnoException) => {
        const isLost = request.reusedSocket && !hasAnswered && (error.code === "ECONNRESET" || error.code === "EPIPE");
        end(isLost ? new KeptConnectionLost() : error);
      });
      request.on("response", (response) => {
        hasAnswered = true;
        if (response.statusCode !== 200) {
          response.resume();
          end(new Error(`it answered ${response.statusCode ?? 0}`));
          return;
        }
        const parts: Buffer[] = [];
        let size = 0;
        response.on("data", (part: Buffer) => {
          size += part.length;
          if (size > ANSWER_SIZE_MAX) request.destroy(new Error(`its answer is larger than ${ANSWER_SIZE_MAX} bytes`));
          else parts.push(part);
        });
        response.on("end", () => end(null, Buffer.concat(parts).toString("utf8")));
        response.on("error", end);
        response.on("close", () => end(new Error("its answer was cut off")));
      });
      request.end(body);
    });
  }
}

/** The service had closed a connection that was kept since an earlier answer, as it may at any time: that says nothing about the service. */
class KeptConnectionLost extends Error {}

/** @throws Error when it is no answer of the form that is asked for */
function verdictOf(answer: unknown, attempt: Attempt, validUntil: number): Verdict {
  if (typeof answer !== "object" || answer === null) throw new Error("its answer is no object");
  const { allow, ...more } = answer as Record<string, unknown>;
  if (typeof allow !== "boolean") throw new Error('its answer has no "allow": true or false');
  if (!allow) return { isAllowed: false, refusal: "credentials", detail: `the back-end of auth.http refuses ${shown(attempt)}` };
  // Services in some languages write null for what they leave out.
  const user = more["user"] ?? attempt.userName ?? "";
  if (typeof user !== "string") throw new Error('"user" in its answer is no name');
  const groups = more["groups"] ?? [];
  if (!Array.isArray(groups) || groups.length > GROUPS_MAX || !groups.every((group) => typeof group === "string")) throw new Error('"groups" in its answer is no list of names');
  return { isAllowed: true, identity: { user, groups }, grant: null, ...termOf(more["expire_at"] ?? null, validUntil) };
}

/** @throws Error */
function termOf(seconds: unknown, validUntil: number): Term {
  if (seconds === null) return { ...UNLIMITED, validUntil };
  if (typeof seconds !== "number" || seconds < 0 || seconds > SECONDS_MAX) throw new Error('"expire_at" in its answer is no time in Unix seconds');
  return { expiresAt: seconds * 1000, validUntil };
}

/** Whom it is about, for the log. */
function shown({ userName = "" }: Attempt): string {
  return `the user ${JSON.stringify(userName.slice(0, NAME_SHOWN_MAX))}`;
}
