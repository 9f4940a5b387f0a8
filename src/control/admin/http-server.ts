// The admin API's HTTP server: limits, guard, routes, errors. Plain HTTP on loopback, GET only. On control's thread.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { hostname } from "node:os";
import type { Log } from "../../base/log.js";
import type { AdminListenerState } from "../control-messages.js";
import { ApiError } from "./api-error.js";
import { checkHostAndOrigin } from "./guard.js";
import { splitTarget } from "./parameters.js";
import { route, type Answer, type RouteContext } from "./routes.js";

const HEADERS_SIZE_MAX = 8 * 1024;
const HEADERS_DEADLINE_MS = 5_000;
const REQUEST_DEADLINE_MS = 10_000;
const KEEP_ALIVE_MS = 5_000;
const CONNECTIONS_MAX = 256;

export class AdminServer {
  private readonly servers: Server[] = [];
  private readonly context: RouteContext;
  private readonly log: Log;

  constructor(context: RouteContext, log: Log) {
    this.context = context;
    this.log = log;
  }

  /** Listens on each address; a failure is reported, not thrown. */
  async listen(hosts: readonly string[], port: number): Promise<AdminListenerState[]> {
    return Promise.all(hosts.map((host) => this.listenOn(host, port)));
  }

  private listenOn(host: string, port: number): Promise<AdminListenerState> {
    const server = createServer(
      { maxHeaderSize: HEADERS_SIZE_MAX, headersTimeout: HEADERS_DEADLINE_MS, requestTimeout: REQUEST_DEADLINE_MS, keepAliveTimeout: KEEP_ALIVE_MS },
      (request, response) => void this.handle(request, response),
    );
    server.maxConnections = CONNECTIONS_MAX;
    return new Promise((resolve) => {
      server.once("error", (error: NodeJS.ErrnoException) => resolve({ host, error: error.code ?? error.message }));
      server.listen({ host, port }, () => {
        this.servers.push(server);
        server.on("error", (error) => this.log.warn(`the admin API's listener failed: ${error.message}`));
        const bound = (server.address() as AddressInfo).port;
        resolve({ url: `http://${host.includes(":") ? `[${host}]` : host}:${String(bound)}` });
      });
    });
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    let headers: Readonly<Record<string, string>> = {};
    try {
      answer = await this.answer(request);
    } catch (error) {
      const known = error instanceof ApiError ? error : new ApiError("FAILED", "the request failed inside the gateway");
      if (known !== error) this.log.error("an admin request failed", { target: request.url, error: error instanceof Error ? error.stack : String(error) });
      headers = known.code === "BODY_NOT_ALLOWED" ? { ...known.headers, connection: "close" } : known.headers;
      answer = { status: known.status, contentType: "application/json; charset=utf-8", body: `${JSON.stringify(known)}\n` };
    }
    response.writeHead(answer.status, {
      "content-type": answer.contentType, "content-length": Buffer.byteLength(answer.body), "cache-control": "no-store", "x-content-type-options": "nosniff", ...headers,
    });
    response.end(answer.body);
  }

  private async answer(request: IncomingMessage): Promise<Answer> {
    const { host, origin } = request.headers;
    checkHostAndOrigin(host, origin, request.headers["sec-fetch-site"], hostname());
    if (request.method !== "GET" && request.method !== "HEAD") throw new ApiError("METHOD_NOT_ALLOWED", `${request.method ?? "?"} is not possible here`, { allow: "GET, HEAD", connection: "close" });
    if (request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0) throw new ApiError("BODY_NOT_ALLOWED", "a request to this API has no body");
    const { segments, parameters } = splitTarget(request.url ?? "/");
    return route(this.context, segments, parameters);
  }

  close(): void {
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
  }
}
