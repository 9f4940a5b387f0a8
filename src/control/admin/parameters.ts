// Reads a request's path and query parameters. Pure.
import { parseDuration } from "../config/units.js";
import { ApiError } from "./api-error.js";

/** Points that one answer may hold; more need a larger step. */
export const POINTS_MAX = 10_000;
/** Points that a default step aims at. */
const POINTS_DEFAULT = 500;
const RANGE_DEFAULT_MS = 3_600_000;
const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800].map((seconds) => seconds * 1000);
/** The years 0001 to 9999, as RFC 3339 has them. */
const TIME_MAX_MS = 253_402_300_799_999;
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i;

export interface Range {
  readonly from: number;
  readonly to: number;
  readonly stepMs: number;
}

/** Splits a request's target into decoded path segments and parameters. @throws ApiError BAD_REQUEST */
export function splitTarget(target: string): { segments: string[]; parameters: URLSearchParams } {
  const at = target.indexOf("?");
  const path = at < 0 ? target : target.slice(0, at);
  if (!path.startsWith("/")) throw new ApiError("BAD_REQUEST", "the request's target is no path");
  try {
    // Decoded one by one: a name may hold an encoded slash or dots.
    return { segments: path.slice(1).split("/").map((segment) => decodeURIComponent(segment)), parameters: new URLSearchParams(at < 0 ? "" : target.slice(at + 1)) };
  } catch {
    throw new ApiError("BAD_REQUEST", "the path holds a broken percent encoding");
  }
}

/** Refuses parameters that a route does not know: a mistyped one would be ignored silently. @throws ApiError BAD_PARAMETER */
export function allowOnly(parameters: URLSearchParams, names: readonly string[]): void {
  for (const name of parameters.keys()) {
    if (!names.includes(name)) throw new ApiError("BAD_PARAMETER", `there is no parameter ${JSON.stringify(name)}${names.length === 0 ? "" : `; there are ${names.join(", ")}`}`);
    if (parameters.getAll(name).length > 1) throw new ApiError("BAD_PARAMETER", `${name} is given more than once`);
  }
}

/** `from`, `to` and `step`: the last hour in at most 500 points unless said. @throws ApiError BAD_PARAMETER */
export function readRange(parameters: URLSearchParams, now: number): Range {
  const to = readTime(parameters, "to") ?? now;
  const from = readTime(parameters, "from") ?? to - RANGE_DEFAULT_MS;
  if (from >= to) throw new ApiError("BAD_PARAMETER", `from (${new Date(from).toISOString()}) is not before to (${new Date(to).toISOString()})`);
  const text = parameters.get("step");
  const stepMs = text === null ? defaultStep(to - from) : parseDuration(text);
  if (stepMs === undefined || stepMs < 1) throw new ApiError("BAD_PARAMETER", `step ${JSON.stringify(text)} is no duration from 1ms on`);
  const points = Math.ceil((to - from) / stepMs);
  if (points > POINTS_MAX) throw new ApiError("BAD_PARAMETER", `that would be ${String(points)} points; at most ${String(POINTS_MAX)} are given, with a step from ${String(Math.ceil((to - from) / POINTS_MAX))}ms on`);
  return { from, to, stepMs: Math.round(stepMs) };
}

function defaultStep(rangeMs: number): number {
  return STEPS_MS.find((step) => rangeMs / step <= POINTS_DEFAULT) ?? Math.ceil(rangeMs / POINTS_DEFAULT);
}

function readTime(parameters: URLSearchParams, name: string): number | undefined {
  const text = parameters.get(name);
  if (text === null) return undefined;
  // A plus sign that was not encoded arrives as a space.
  const time = /^-?\d{1,15}$/.test(text) ? Number(text) : RFC_3339.test(text.replace(" ", "+")) ? Date.parse(text.replace(" ", "+")) : Number.NaN;
  if (Number.isNaN(time) || Math.abs(time) > TIME_MAX_MS) throw new ApiError("BAD_PARAMETER", `${name} ${JSON.stringify(text)} is neither RFC 3339 (2026-01-31T12:00:00Z) nor Unix milliseconds`);
  return time;
}

/** @throws ApiError BAD_PARAMETER */
export function readLimit(parameters: URLSearchParams, byDefault: number, most: number): number {
  const text = parameters.get("limit");
  if (text === null) return byDefault;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(limit >= 1 && limit <= most)) throw new ApiError("BAD_PARAMETER", `limit ${JSON.stringify(text)} is no whole number from 1 to ${String(most)}`);
  return limit;
}
