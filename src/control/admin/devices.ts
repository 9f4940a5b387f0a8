// The list of devices: what history has seen, and who is connected now, as one.
// A device is the {id} of its topics, else a client id (a client that has not published telemetry yet is listed too). Pure.
import type { ClientStatus, DeviceSummary } from "../../base/messages.js";

/** A device without a client of its own (it speaks through another one) counts as Online for this long after its last telemetry. */
const SEEN_RECENTLY_MS = 5 * 60_000;

export interface DeviceEntry {
  readonly id: string;
  readonly status: "Online" | "Offline";
  /** Unix ms. */
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
  readonly series: readonly string[];
}

/** Order of ids by their bytes, as history sorts them. */
export function compareIds(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * Merges one page.
 *
 * @param stored  history's next `limit` devices after `after`, in order of their ids
 * @param clients all clients
 * @param now     Unix ms
 * @returns at most `limit` devices, and where the next page starts, if there may be one
 */
export function mergeDevices(stored: readonly DeviceSummary[], clients: readonly ClientStatus[], limit: number, after: string, now: number): { devices: DeviceEntry[]; next: string | null } {
  const byId = new Map(clients.map((client) => [client.clientId, client]));
  const entries = new Map<string, DeviceEntry>();
  for (const device of stored) {
    const client = byId.get(device.id);
    const lastSeenAt = Math.max(device.lastSeenAt, client?.lastSeenAt ?? 0);
    const isOnline = client === undefined ? now - lastSeenAt < SEEN_RECENTLY_MS : client.isConnected;
    entries.set(device.id, { id: device.id, status: isOnline ? "Online" : "Offline", firstSeenAt: device.firstSeenAt, lastSeenAt, series: device.series });
  }
  // Beyond a full page of history there may be stored devices that this page does not know of: clients there wait for the next page.
  const isLastPage = stored.length < limit;
  const end = stored.at(-1)?.id;
  for (const client of clients) {
    const isInPage = compareIds(client.clientId, after) > 0 && (isLastPage || end === undefined || compareIds(client.clientId, end) <= 0);
    if (!isInPage || entries.has(client.clientId)) continue;
    entries.set(client.clientId, { id: client.clientId, status: client.isConnected ? "Online" : "Offline", firstSeenAt: client.connectedAt, lastSeenAt: client.lastSeenAt, series: [] });
  }
  const sorted = [...entries.values()].sort((a, b) => compareIds(a.id, b.id));
  const devices = sorted.slice(0, limit);
  return { devices, next: sorted.length > limit || !isLastPage ? (devices.at(-1)?.id ?? null) : null };
}
