// The admin API over real HTTP and real MessagePorts, with workers that answer as each test says.
import { connect } from "node:net";
import { once } from "node:events";
import { hostname } from "node:os";
import t, { type Test } from "tap";
import { fnv1aOf } from "../../../src/base/bytes.js";
import { STORE_COUNTER } from "../../../src/base/counters.js";
import type { ClientStatus, DeviceSummary } from "../../../src/base/messages.js";
import { get, NOW, openAdmin, SILENT, WorkerFailure, type Admin } from "./fixture.js";

async function open(t: Test, options?: Parameters<typeof openAdmin>[0]): Promise<Admin> {
  const admin = await openAdmin(options);
  t.teardown(() => admin.close());
  return admin;
}

function client(clientId: string, more: Partial<ClientStatus> = {}): ClientStatus {
  return { clientId, user: "", isConnected: true, protocol: "MQTT 5.0", listener: "mqtts", peer: "192.0.2.1", connectedAt: NOW - 1000, lastSeenAt: NOW - 10, subscriptions: 1, queued: 0, ...more };
}

function device(id: string, more: Partial<DeviceSummary> = {}): DeviceSummary {
  return { id, series: ["temperature"], firstSeenAt: NOW - 3_600_000, lastSeenAt: NOW - 600_000, ...more };
}

t.test("devices are what history has seen and who is connected, as one", async (t) => {
  const admin = await open(t);
  admin.answer = (role, index) => {
    if (role === "history") return [device("a"), device("b"), device("c", { lastSeenAt: NOW - 1000 }), device("d", { lastSeenAt: NOW - 1000 })];
    return index === 0 ? [client("b"), client("new")] : [client("d", { isConnected: false, lastSeenAt: NOW - 500 })];
  };
  const { status, json } = await get(admin, "/api/v1/devices");
  t.equal(status, 200);
  t.same(json, {
    devices: [
      { id: "a", status: "Offline", firstSeenAt: NOW - 3_600_000, lastSeenAt: NOW - 600_000, series: ["temperature"] },
      { id: "b", status: "Online", firstSeenAt: NOW - 3_600_000, lastSeenAt: NOW - 10, series: ["temperature"] },
      { id: "c", status: "Online", firstSeenAt: NOW - 3_600_000, lastSeenAt: NOW - 1000, series: ["temperature"] },
      { id: "d", status: "Offline", firstSeenAt: NOW - 3_600_000, lastSeenAt: NOW - 500, series: ["temperature"] },
      { id: "new", status: "Online", firstSeenAt: NOW - 1000, lastSeenAt: NOW - 10, series: [] },
    ],
    next: null,
  });
});

t.test("the pages of devices hold each device once and none is left out, whatever the page's size", async (t) => {
  const admin = await open(t);
  const stored = ["b", "d", "f", "h", "ä"].map((id) => device(id));
  const clients = ["a", "b", "c", "g", "z", "ö"].map((id) => client(id));
  admin.answer = (role, index, query) => {
    if (role === "shard") return clients.filter((_, at) => at % 2 === index);
    if (query.type !== "devices") throw new Error(query.type);
    return stored.filter(({ id }) => Buffer.compare(Buffer.from(id), Buffer.from(query.after)) > 0).slice(0, query.limit);
  };
  for (const limit of [1, 2, 3, 5, 100]) {
    const seen: string[] = [];
    let after: string | null = "";
    for (let page = 0; after !== null && page < 30; page++) {
      const { json } = await get(admin, `/api/v1/devices?limit=${limit}&after=${encodeURIComponent(after)}`);
      const answer = json as { devices: { id: string }[]; next: string | null };
      t.ok(answer.devices.length <= limit);
      seen.push(...answer.devices.map(({ id }) => id));
      after = answer.next;
    }
    t.same(seen, ["a", "b", "c", "d", "f", "g", "h", "z", "ä", "ö"], `limit ${limit}`);
  }
});

t.test("a shard that is being started again is named, and the others' clients are shown", async (t) => {
  const admin = await open(t);
  admin.answer = (role) => (role === "shard" ? [client("x")] : []);
  admin.cut("shard", 1);
  await new Promise((resolve) => setImmediate(resolve));
  const { json } = await get(admin, "/api/v1/clients");
  t.match(json, { clients: [{ clientId: "x" }], next: null, incomplete: ["shard 1"] });
  admin.cut("shard", 0);
  await new Promise((resolve) => setImmediate(resolve));
  t.match(await get(admin, "/api/v1/clients"), { status: 503, json: { error: { code: "UNAVAILABLE" } } });
});

t.test("clients come in pages too", async (t) => {
  const admin = await open(t);
  admin.answer = (_role, index) => (index === 0 ? [client("b"), client("d")] : [client("a"), client("c")]);
  t.match((await get(admin, "/api/v1/clients?limit=3")).json, { clients: [{ clientId: "a" }, { clientId: "b" }, { clientId: "c" }], next: "c" });
  t.match((await get(admin, "/api/v1/clients?limit=3&after=c")).json, { clients: [{ clientId: "d", peer: "192.0.2.1" }], next: null });
});

t.test("a series is asked of history with the range and step of the request", async (t) => {
  const admin = await open(t);
  const points = [{ time: NOW - 1000, mean: 2, min: 1, max: 3, count: 2 }];
  admin.answer = () => points;
  const hour = 3_600_000;
  for (const [parameters, from, to, stepMs] of [
    ["", NOW - hour, NOW, 10_000],
    ["?from=2026-11-22T10:00:00Z", NOW - 2 * hour, NOW, 15_000],
    ["?from=2026-11-22T11:00:00%2B01:00&to=2026-11-22T11:30:00.5Z", NOW - 2 * hour, NOW - hour / 2 + 500, 15_000],
    [`?from=${NOW - 1000}&to=${NOW}&step=10ms`, NOW - 1000, NOW, 10],
    [`?to=${NOW - 5}`, NOW - 5 - hour, NOW - 5, 10_000],
    ["?from=2020-01-01T00:00:00Z", Date.parse("2020-01-01T00:00:00Z"), NOW, 604_800_000],
    ["?step=1m", NOW - hour, NOW, 60_000],
  ] as const) {
    admin.asked.length = 0;
    const { status, json } = await get(admin, `/api/v1/series/d1/temperature${parameters}`);
    t.equal(status, 200, parameters);
    t.same(json, { points });
    t.same(admin.asked, [["history 0", { type: "series", device: "d1", name: "temperature", from, to, stepMs }]], parameters);
  }
});

t.test("names are percent-decoded one by one: slashes, dots, spaces and UTF-8 arrive as they are", async (t) => {
  const admin = await open(t);
  admin.answer = () => [];
  for (const [target, name, series] of [["/api/v1/series/a%2Fb/c%2Fd", "a/b", "c/d"], ["/api/v1/series/../%2e%2e", "..", ".."], ["/api/v1/series/%C3%BC%20x/a.b", "ü x", "a.b"]] as const) {
    admin.asked.length = 0;
    await get(admin, target);
    t.match(admin.asked, [["history 0", { device: name, name: series }]], target);
  }
});

t.test("wrong parameters are refused with what would be right", async (t) => {
  const admin = await open(t);
  for (const [target, words] of [
    ["/api/v1/series/d/x?from=yesterday", /neither RFC 3339/],
    ["/api/v1/series/d/x?from=2026-11-22", /neither RFC 3339/],
    ["/api/v1/series/d/x?from=2026-13-45T00:00:00Z", /neither RFC 3339/],
    ["/api/v1/series/d/x?from=99999999999999999", /neither RFC 3339/],
    [`/api/v1/series/d/x?from=${NOW}&to=${NOW - 1}`, /is not before/],
    ["/api/v1/series/d/x?step=10", /no duration/],
    ["/api/v1/series/d/x?step=0s", /no duration/],
    ["/api/v1/series/d/x?step=0.1ms", /no duration/],
    ["/api/v1/series/d/x?step=1ms", /would be 3600000 points; at most 10000/],
    ["/api/v1/series/d/x?form=1", /no parameter "form"; there are from, to, step/],
    ["/api/v1/series/d/x?from=1&from=2", /more than once/],
    ["/api/v1/devices?limit=0", /limit/],
    ["/api/v1/devices?limit=5000", /from 1 to 1000/],
    ["/api/v1/events?limit=x", /limit/],
    ["/api/v1/series/%E0%A4%A/x", /percent encoding/],
    ["http://127.0.0.1/api/v1/devices", /no path/],
  ] as const) {
    const { status, json } = await get(admin, target);
    t.equal(status, 400, target);
    t.match(json, { error: { code: /^BAD_/, message: words, fix: /./ } }, target);
  }
  t.same(admin.asked, []);
});

t.test("the last value comes from the device's lane, else from history", async (t) => {
  const admin = await open(t);
  const lane = fnv1aOf("d1") % 2;
  const statistics = { count: 3, mean: 1, standardDeviation: 1, zScore: 0, isAnomaly: false, confidence: 1 };
  admin.answer = (role) => (role === "lane" ? { time: NOW, value: 21.5, statistics } : { time: NOW - 1, value: "from history" });
  t.same((await get(admin, "/api/v1/series/d1/t/last")).json, { device: "d1", name: "t", time: NOW, value: 21.5, statistics });
  t.same(admin.asked, [[`lane ${lane}`, { type: "last", device: "d1", name: "t" }]]);
  admin.answer = (role) => (role === "lane" ? null : { time: NOW - 1, value: "from history" });
  t.match((await get(admin, "/api/v1/series/d1/t/last")).json, { value: "from history" });
  admin.cut("lane", lane);
  await new Promise((resolve) => setImmediate(resolve));
  t.match((await get(admin, "/api/v1/series/d1/t/last")).json, { value: "from history" }, "its lane is being started again");
  admin.answer = () => null;
  t.match(await get(admin, "/api/v1/series/d1/t/last"), { status: 404, json: { error: { code: "NOT_FOUND", message: /"t" of device "d1"/ } } });
});

t.test("events are history's, newest first as it gives them", async (t) => {
  const admin = await open(t);
  const rows = [{ time: NOW, device: "d", kind: "undecodable", text: "no JSON" }];
  admin.answer = () => rows;
  t.same((await get(admin, "/api/v1/events?limit=5")).json, { events: rows });
  t.same(admin.asked, [["history 0", { type: "events", limit: 5 }]]);
});

t.test("without history, series and events say so, and devices are the clients", async (t) => {
  const admin = await open(t, { hasHistory: false });
  admin.answer = (role, index) => (role === "shard" && index === 0 ? [client("only")] : role === "shard" ? [] : null);
  t.match(await get(admin, "/api/v1/series/d/x"), { status: 404, json: { error: { code: "HISTORY_OFF", fix: /history.engine/ } } });
  t.match(await get(admin, "/api/v1/events"), { status: 404, json: { error: { code: "HISTORY_OFF" } } });
  t.match((await get(admin, "/api/v1/devices")).json, { devices: [{ id: "only" }] });
  t.match(await get(admin, "/api/v1/series/d/x/last"), { status: 404 });
});

t.test("what a worker refuses keeps its status; what it never answers is 504; what dies meanwhile is 503", async (t) => {
  const admin = await open(t, { deadlineMs: 100 });
  for (const [status, code] of [[400, "BAD_PARAMETER"], [404, "NOT_FOUND"], [503, "UNAVAILABLE"], [504, "TIMEOUT"], [500, "FAILED"]] as const) {
    admin.answer = () => {
      throw new WorkerFailure(status, "because");
    };
    t.match(await get(admin, "/api/v1/events"), { status, json: { error: { code, message: "because" } } });
  }
  admin.answer = () => SILENT;
  t.match(await get(admin, "/api/v1/events"), { status: 504, json: { error: { code: "TIMEOUT", message: /history did not answer within 0.1 s/ } } });
  admin.answer = () => {
    admin.cut("history", 0);
    return SILENT;
  };
  t.match(await get(admin, "/api/v1/events"), { status: 503, json: { error: { code: "UNAVAILABLE" } } });
});

t.test("unknown paths are 404, other methods 405, bodies 413, all as JSON with what to do", async (t) => {
  const admin = await open(t);
  for (const target of ["/x", "/api", "/api/v1", "/api/v1/", "/api/v2/devices", "/api/v1/devices/a", "/api/v1/series/a", "/api/v1/series/a/", "/api/v1/series//b", "/api/v1/series/a/b/first", "/metrics/x"]) {
    t.match(await get(admin, target), { status: 404, json: { error: { code: "NOT_FOUND", fix: /./ } } }, target);
  }
  for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) {
    t.match(await get(admin, "/api/v1/devices", { method }), { status: 405, headers: { allow: "GET, HEAD" }, json: { error: { code: "METHOD_NOT_ALLOWED" } } }, method);
  }
  t.match(await get(admin, "/healthz", { headers: { "content-length": "1" }, body: "x" }), { status: 413, headers: { connection: "close" } });
  const head = await get(admin, "/healthz", { method: "HEAD" });
  t.match([head.status, head.text, head.headers["content-length"]], [200, "", "3"]);
  const { headers } = await get(admin, "/");
  t.match(headers, { "x-content-type-options": "nosniff", "cache-control": "no-store" });
});

t.test("web pages of others cannot use it: Host and Origin are checked", async (t) => {
  const admin = await open(t);
  const own = `127.0.0.1:${admin.port}`;
  for (const headers of [{ host: own }, { host: "localhost" }, { host: `[::1]:${admin.port}` }, { host: `${hostname()}:80` }, { host: own, origin: `http://${own}` }, { host: own, "sec-fetch-site": "same-origin" }]) {
    t.equal((await get(admin, "/healthz", { headers })).status, 200, JSON.stringify(headers));
  }
  for (const [headers, code] of [
    [{ host: "evil.example" }, "FORBIDDEN_HOST"], [{ host: `evil.example:${admin.port}` }, "FORBIDDEN_HOST"], [{ host: "localhost.evil.example" }, "FORBIDDEN_HOST"],
    [{ host: "127.0.0.1.evil.example" }, "FORBIDDEN_HOST"], [{ host: "a b" }, "FORBIDDEN_HOST"], [{ host: ":9080" }, "FORBIDDEN_HOST"],
    [{ host: own, origin: "http://evil.example" }, "FORBIDDEN_ORIGIN"], [{ host: own, origin: "null" }, "FORBIDDEN_ORIGIN"], [{ host: own, origin: "http://127.0.0.1:1" }, "FORBIDDEN_ORIGIN"],
    [{ host: own, "sec-fetch-site": "cross-site" }, "FORBIDDEN_ORIGIN"],
  ] as const) {
    t.match(await get(admin, "/api/v1/devices", { headers }), { status: 403, json: { error: { code } } }, JSON.stringify(headers));
  }
  t.same(admin.asked, []);
});

t.test("headers beyond their limit are refused, and the next request is served", async (t) => {
  const admin = await open(t);
  const { status } = await get(admin, "/healthz", { headers: { "x-long": "a".repeat(20_000) } });
  t.equal(status, 431);
  const socket = connect(admin.port, "127.0.0.1");
  socket.write("GARBAGE\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  t.match(answer.toString(), /^HTTP\/1.1 400 /);
  socket.destroy();
  t.equal((await get(admin, "/healthz")).text, "ok\n");
});

t.test("readiness names what is missing; a blocked journal counts", async (t) => {
  const admin = await open(t);
  t.match(await get(admin, "/readyz"), { status: 200, json: { ready: true, reasons: [] } });
  admin.notReady = ["shard 1 is being restarted"];
  new Float64Array(admin.arena.storeCounters)[STORE_COUNTER.BLOCKED] = 1;
  t.same((await get(admin, "/readyz")).json, { ready: false, reasons: ["shard 1 is being restarted", "the journal cannot be written (disk full or failing)"] });
  t.equal((await get(admin, "/readyz")).status, 503);
  t.equal((await get(admin, "/healthz")).status, 200);
});

t.test("a listener that cannot be opened is told with its error", async (t) => {
  const admin = await open(t);
  const { AdminServer } = await import("../../../src/control/admin/http-server.js");
  const second = new AdminServer({} as never, admin.lines.log);
  t.same(await second.listen(["127.0.0.1"], admin.port), [{ host: "127.0.0.1", error: "EADDRINUSE" }]);
});
