// What the admin API answers when it cannot do what is asked: JSON {"error": {code, message, fix}} with a fitting HTTP status.

const KINDS = {
  BAD_REQUEST: { status: 400, fix: "Compare the request with docs/api.md." },
  BAD_PARAMETER: { status: 400, fix: "Times are RFC 3339 or Unix milliseconds, durations have a unit (10s, 5m), limits are whole numbers." },
  FORBIDDEN_HOST: { status: 403, fix: "Address the API as localhost, by its IP address or by this machine's name." },
  FORBIDDEN_ORIGIN: { status: 403, fix: "Web pages of other origins may not use this API; ask it from the same origin or from a program." },
  NOT_FOUND: { status: 404, fix: "GET /api/v1/devices lists the devices and their series." },
  METHOD_NOT_ALLOWED: { status: 405, fix: "Use GET." },
  BODY_NOT_ALLOWED: { status: 413, fix: "Send the request without a body." },
  HISTORY_OFF: { status: 404, fix: "Set history.engine to duckdb to keep measurements." },
  BUSY: { status: 503, fix: "Ask again in a moment; ask for less at once." },
  UNAVAILABLE: { status: 503, fix: "A part of the gateway is being started again: ask again in a moment." },
  TIMEOUT: { status: 504, fix: "Ask for a shorter range or a larger step." },
  FAILED: { status: 500, fix: "Look at the gateway's log." },
} as const;

export type ApiErrorCode = keyof typeof KINDS;

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ApiErrorCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ApiErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }

  get status(): number {
    return KINDS[this.code].status;
  }

  toJSON(): object {
    return { error: { code: this.code, message: this.message, fix: KINDS[this.code].fix } };
  }
}

/** The error for a status that a worker answered with. */
export function errorOfStatus(status: number, message: string): ApiError {
  const code: ApiErrorCode = status === 400 ? "BAD_PARAMETER" : status === 404 ? "NOT_FOUND" : status === 503 ? "UNAVAILABLE" : status === 504 ? "TIMEOUT" : "FAILED";
  return new ApiError(code, message);
}
