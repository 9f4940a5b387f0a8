// The kinds of errors (style: assert = a bug; ProtocolError = the peer; a returned value = expected pressure; ConfigError = the operator).
// Codes are stable. Codes that users meet stand in the one table below with what to do; docs/errors.md is generated from it.

export interface ErrorEntry {
  /** What happened, in one sentence. */
  readonly what: string;
  /** What to do about it, in one sentence. */
  readonly fix: string;
}

/** The peer's fault: its connection is refused or closed with the wire reason of the standard; counted; one rate-limited log line. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
  readonly code: ErrorCode;
  /** The standard's reason code, e.g. MQTT 5 §2.4. */
  readonly reason: number;

  constructor(code: ErrorCode, reason: number, detail: string) {
    super(detail);
    this.code = code;
    this.reason = reason;
  }
}

export interface ConfigFinding {
  /** Dotted path in the file, e.g. `listeners.mqtts.port`. */
  readonly key: string;
  /** What the file says, as written. */
  readonly value: string;
  readonly allowed: string;
  readonly fix: string;
}

/** The operator's fault: carries all findings, never only the first. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly findings: readonly ConfigFinding[];

  constructor(findings: readonly ConfigFinding[]) {
    super(findings.map((f) => `${f.key}: ${f.value} is not allowed; allowed: ${f.allowed}. ${f.fix}`).join("\n"));
    this.findings = findings;
  }
}

/** A start that cannot go on, for a reason the operator can mend (port taken, data directory in use, damaged certificate). */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, detail: string) {
    super(detail);
    this.code = code;
  }
}

export const ERRORS = {
  MQTT_MALFORMED: { what: "A client sent bytes that are no MQTT packet.", fix: "Look at the log line's detail and mend the client; plain MQTT sent to another protocol's port looks like this too." },
  MQTT_PROTOCOL: { what: "A client sent a packet that the standard forbids at this point.", fix: "Mend the client; the detail names the clause." },
  MQTT_TOO_LARGE: { what: "A packet is larger than the gateway takes.", fix: "Send smaller packets." },
  MQTT_PAYLOAD_FORMAT: { what: "A payload is not the UTF-8 text that its payload format indicator says it is.", fix: "Mend the client, or set `mqtt.validate_payload_format` to false." },
  MQTT_NOT_AUTHORISED: { what: "A client is not allowed to connect or to do this.", fix: "Give it credentials (docs/authentication.md), connect from the gateway's own machine, or set `auth.anonymous`." },
  AUTH_CREDENTIALS: { what: "A client gave a wrong user name, password or token, or its address did so too often.", fix: "Look at the log line's detail; set a password with `penstock passwd set USER`, or mend the client." },
  AUTH_REVOKED: { what: "A connection was ended, since what had let its client in holds no more: its certificate was revoked or its authority taken away, its user deleted, its password changed, or the key of its token taken away.", fix: "Give the client a new certificate, password or token if it is to come back; the log line says what was wrong." },
  AUTH_UNAVAILABLE: { what: "A client's credentials could not be checked, or not in time.", fix: "See that the back-end of `auth.http` answers; when many clients come at once they are let in when they try again." },
  AUTH_FILE_BAD: { what: "A file with passwords, secrets or keys cannot be used.", fix: "Mend the file named in the detail; files with secrets are for the gateway's user alone (`chmod 600`)." },
  MQTT_FORBIDDEN: { what: "A client asked for what the access rules do not allow.", fix: "Allow it in the file named by `acl.file`, or mend the client; docs/access-rules.md says how rules are read." },
  MQTT_CLIENT_ID: { what: "A client id is not acceptable.", fix: "Use 1 to 65535 bytes of UTF-8; an empty one needs a clean session in MQTT 3.1.1." },
  MQTT_SESSION_OWNER: { what: "A client presented a client id whose session belongs to another user.", fix: "Give each user's clients ids of their own; when a device got another user, wait for its session's expiry or give it another client id, or set `mqtt.session_takeover` to anyone." },
  MQTT_VERSION: { what: "A client speaks a version of MQTT that the gateway, or this listener, does not.", fix: "Use MQTT 3.1, 3.1.1 or 5.0, or change `mqtt.protocol_versions`." },
  MQTT_CONNECTIONS: { what: "A listener has as many clients as it may.", fix: "Raise `connections_max` under `mqtt` or under the listener, or spread the clients." },
  MQTT_SESSIONS: { what: "A client wants a new session, and there are as many as there may be.", fix: "Raise `mqtt.sessions_max`, or lower `mqtt.session_expiry_max` so that those of clients which never come back end sooner." },
  LISTEN_FAILED: { what: "A listener cannot be opened.", fix: "Stop what uses the port, choose another under `listeners`, or set the listener to false." },
  DATA_IN_USE: { what: "Another gateway works on the same data directory.", fix: "Stop it, or give this one its own `data` directory." },
  DATA_FORMAT: { what: "The data directory was written by a newer version.", fix: "Run that version, or use another `data` directory." },
  DATA_UNUSABLE: { what: "The data directory cannot be made or written.", fix: "Give the gateway's user the right to write there, or set `data` to another directory." },
  WORKER_FAILED: { what: "A part of the gateway did not start.", fix: "Look at the log lines before this one; a damaged file under `data` is named there." },
  CERTIFICATE_BAD: { what: "A certificate, key or CA cannot be used.", fix: "Do what the detail says about the file that it names. Certificates that the gateway made can be removed (`cert.pem`, `key.pem` and `ca.pem` together) to have new ones made; every client needs the new authority then." },
  NATIVE_MISSING: { what: "The native part cannot be loaded.", fix: "Run `npm run build` with the Node.js that runs the gateway." },
  STORE_FAILED: { what: "The journal cannot be written.", fix: "Free disk space or mend the disk; the gateway goes on by itself." },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;
