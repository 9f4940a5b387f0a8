// The running gateway as a whole: opens everything in order, and closes it in order. On main's thread.
//
//   configuration -> data directory (lock) -> certificates -> sockets bound -> workers (supervisor.ts) -> accepting -> first lines
//
// Sockets are bound before the workers start, so that a taken port is known at once; they accept only when everything is ready.
import type { AccessRuleSet } from "../base/access.js";
import type { Clock } from "../base/clock.js";
import { StartError } from "../base/errors.js";
import { RateLimit } from "../base/log.js";
import { native, type Front, type ListenerOptions, type Native } from "../reactor/reactor.js";
import { needsCertificates } from "../security/certificates.js";
import type { LiveFile } from "../security/live-file.js";
import { watchAccessRules } from "./access-watch.js";
import { createArena, type Arena } from "./arena.js";
import { checkAuthentication } from "./auth-options.js";
import { usesMadeCertificates } from "./certificate-reach.js";
import type { Config, LoadedConfig } from "./config/config.js";
import type { ListenerName } from "./config/schema.js";
import { ListenerCertificates } from "./listener-certificates.js";
import { openDataDirectory } from "./data-directory.js";
import { greeting } from "./greeting.js";
import { describeFailure, frontListeners, hasIpv6, judgeListeners, notBuilt, type Note } from "./listeners.js";
import type { MainLog } from "./logger.js";
import { Stats } from "./stats-line.js";
import { type Deadlines, Supervisor, type WorkerFiles } from "./supervisor.js";

const HANDSHAKE_DEADLINE_MS = 10_000;
const FIRST_FRAME_DEADLINE_MS = 10_000;
const PENDING_MAX = 4096;
/** Connections from one address that are not this machine's own. Many devices stand behind one router: generous. */
const PER_ADDRESS_MAX = 20_000;
/** A CONNECT with will, user name and password, each at most 64 KiB, fits. */
const FIRST_FRAME_SIZE_MAX = 256 * 1024;
const STATS_INTERVAL_MS = 60_000;
/** Lines about refused connections: anybody can provoke them. */
const REFUSED_LINES = 10;
const REFUSED_INTERVAL_MS = 10_000;

export interface GatewayOptions {
  readonly loaded: LoadedConfig;
  readonly log: MainLog;
  readonly clock: Clock;
  readonly version: string;
  readonly files: WorkerFiles;
  /** Tests use short ones. */
  readonly deadlines?: Deadlines;
  readonly print: (text: string) => void;
  readonly onStoreLost: (reason: string) => void;
}

export class Gateway {
  private readonly options: GatewayOptions;
  private readonly log: MainLog;
  private readonly config: Config;
  private readonly refusedLimit = new RateLimit(REFUSED_LINES, REFUSED_INTERVAL_MS);
  private front: Front | undefined;
  private listeners: readonly ListenerOptions[] = [];
  private certificates: ListenerCertificates | undefined;
  private accessWatch: LiveFile<AccessRuleSet> | undefined;
  private supervisor: Supervisor | undefined;
  private stats: Stats | undefined;
  private statsTimer: NodeJS.Timeout | undefined;
  private addon: Native | undefined;

  constructor(options: GatewayOptions) {
    this.options = options;
    this.log = options.log;
    this.config = options.loaded.config;
  }

  /**
   * Starts everything.
   *
   * @throws StartError when it cannot go on; call `stop` then all the same
   */
  async start(): Promise<void> {
    const { clock, loaded } = this.options;
    const startedAt = clock.monotonic();
    for (const warning of loaded.warnings) this.log.warn(warning);
    const addon = (this.addon = this.loadAddon());
    openDataDirectory(this.config.data, (path) => addon.lock(path));
    checkAuthentication(this.config);
    const made = await this.makeCertificates();
    this.certificates = new ListenerCertificates(this.config, this.log, this.options.clock.wall());
    const arena = createArena(this.config.shards, this.config.lanes, this.config.mqtt.packet_size_max);
    const { off, notes } = notBuilt(this.config, loaded.asksFor);
    this.say(notes);
    const front = await this.bind(addon, arena);
    this.certificates.use(front, (trust) => this.supervisor?.useTrust(trust));
    const supervisor = (this.supervisor = await this.startWorkers(arena));
    this.watchAccessRules(supervisor);
    this.say(this.judgeAdmin());
    front.start();
    this.startStats(arena);
    this.options.print(
      greeting({
        version: this.options.version, config: this.config, file: loaded.file, listeners: this.listeners, states: front.listeners, admin: this.supervisor.adminListeners,
        notBuilt: off, caPath: this.certificates.caPath, startedInMs: clock.monotonic() - startedAt,
      }),
    );
    if (made) this.log.info(`certificates were made in ${this.config.certs}; give ca.pem to the devices, and keep ca-key.pem`);
    this.log.info("ready", { openssl: addon.openssl, shards: this.config.shards, lanes: this.config.lanes, durability: this.config.durability });
  }

  private loadAddon(): Native {
    try {
      return native();
    } catch (error) {
      throw new StartError("NATIVE_MISSING", (error as Error).message);
    }
  }

  /** At the first start with a listener that uses them. @returns whether they were made now */
  private async makeCertificates(): Promise<boolean> {
    const directory = this.config.certs;
    const made = usesMadeCertificates(this.config) && needsCertificates(directory);
    if (made) {
      // The X.509 library is needed at the first start only.
      const { makeCertificates } = await import("../security/certificate-maker.js");
      try {
        await makeCertificates(directory, this.options.clock.wall());
      } catch (error) {
        throw new StartError("CERTIFICATE_BAD", `certificates cannot be made in ${directory}: ${(error as Error).message}`);
      }
    }
    return made;
  }

  private async bind(addon: Native, arena: Arena): Promise<Front> {
    const { listeners, notes } = frontListeners(this.config, await hasIpv6());
    this.say(notes);
    this.listeners = listeners;
    const front = (this.front = addon.createFront({
      listeners,
      shards: this.config.shards,
      counters: new Float64Array(arena.frontCounters),
      handshakeDeadlineMs: HANDSHAKE_DEADLINE_MS,
      firstFrameDeadlineMs: FIRST_FRAME_DEADLINE_MS,
      pendingMax: PENDING_MAX,
      perAddressMax: PER_ADDRESS_MAX,
      connectionsMax: this.config.mqtt.connections_max,
      firstFrameSizeMax: FIRST_FRAME_SIZE_MAX,
      onRefused: (listener, peer, reason, detail) => this.onRefused(listener, peer, reason, detail),
    }));
    this.say(judgeListeners(listeners, front.listeners, this.options.loaded.asksFor));
    return front;
  }

  private watchAccessRules(supervisor: Supervisor): void {
    const { loaded, log } = this.options;
    if (loaded.access === null) return;
    log.info("access rules are in force", { file: this.config.acl.file, rules: loaded.access.rules.length, default: this.config.acl.default });
    this.accessWatch = watchAccessRules({ file: this.config.acl.file, current: loaded.access, log, apply: (rules) => supervisor.useAccessRules(rules) });
  }

  private async startWorkers(arena: Arena): Promise<Supervisor> {
    const { log, clock, version, files, onStoreLost } = this.options;
    const { mqtts, https } = this.config.listeners;
    const listeners = this.listeners.map(({ name, context, protocol }) => ({ name, isTls: context !== undefined, protocol, identity: name === "mqtts" && mqtts !== false ? mqtts.identity : name === "https" && https !== false ? https.identity : "none" as const }));
    const supervisor = (this.supervisor = new Supervisor({ context: { config: this.config, arena, listeners, access: this.options.loaded.access, trusts: new Map() }, ...(this.options.deadlines === undefined ? {} : { deadlines: this.options.deadlines }), files, log, clock, version, onStoreLost }));
    try {
      await supervisor.start();
    } catch (error) {
      throw error instanceof StartError ? error : new StartError("WORKER_FAILED", (error as Error).message);
    }
    return supervisor;
  }

  /** @throws StartError LISTEN_FAILED when the file asks for the admin API and it cannot be had */
  private judgeAdmin(): Note[] {
    const { admin } = this.config.listeners;
    if (admin === false) return [];
    return (this.supervisor?.adminListeners ?? []).flatMap((state) => {
      if ("url" in state) return [];
      const text = describeFailure("admin", state.host, admin.port, state.error);
      if (this.options.loaded.asksFor("admin")) throw new StartError("LISTEN_FAILED", text);
      return [{ level: "warn" as const, text: `${text}; going on without the API` }];
    });
  }

  private onRefused(listener: number, peer: string, reason: string, detail: string): void {
    if (!this.refusedLimit.allows(this.options.clock.monotonic())) return;
    const name = (this.listeners[listener]?.name ?? "listener") as ListenerName;
    const { suppressed } = this.refusedLimit;
    this.refusedLimit.suppressed = 0;
    this.log.line("warn", "front", `a connection was refused: ${detail}`, { listener: name, peer, reason, ...(suppressed > 0 ? { not_logged: suppressed } : {}) });
  }

  private startStats(arena: Arena): void {
    const stats = (this.stats = new Stats(arena, this.options.clock));
    this.statsTimer = setInterval(() => {
      const { text, fields } = stats.take();
      this.log.line("info", "stats", text, fields);
    }, STATS_INTERVAL_MS);
  }

  private say(notes: readonly Note[]): void {
    for (const note of notes) this.log.line(note.level, "main", note.text);
  }

  /** Reads certificates and access rules again (SIGHUP). */
  reload(): void {
    this.accessWatch?.reload();
    this.certificates?.reload();
  }

  /** Ends the process without waiting for any thread; does nothing before the addon is loaded. */
  endProcess(code: number): void {
    this.addon?.endProcess(code);
  }

  /**
   * Stops accepting, drains, commits, flushes.
   *
   * @returns what had to be given up within the deadline; empty when everything was finished
   */
  async stop(deadlineMs: number): Promise<readonly string[]> {
    clearInterval(this.statsTimer);
    this.stats?.close();
    this.certificates?.close();
    this.accessWatch?.close();
    this.front?.stop();
    const givenUp = (await this.supervisor?.stop(deadlineMs)) ?? [];
    this.addon?.unlock();
    return givenUp;
  }
}
