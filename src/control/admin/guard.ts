// Keeps web pages out of an API without a login (DNS rebinding, cross-site requests): the Host header must name this machine, and an Origin
// must be this API's own. Pure.
import { isIP } from "node:net";
import { ApiError } from "./api-error.js";

/**
 * @param host      the Host header
 * @param origin    the Origin header, which browsers send with requests of other pages
 * @param fetchSite Sec-Fetch-Site, which newer browsers send with every request
 * @throws ApiError FORBIDDEN_HOST, FORBIDDEN_ORIGIN
 */
export function checkHostAndOrigin(host: string | undefined, origin: string | undefined, fetchSite: string | undefined, machineName: string): void {
  const name = host === undefined ? undefined : hostName(host);
  if (name === undefined || !isOwnName(name, machineName)) throw new ApiError("FORBIDDEN_HOST", `Host ${JSON.stringify(host ?? "")} does not name this machine`);
  if (origin !== undefined && origin.toLowerCase() !== `http://${host!.toLowerCase()}`) throw new ApiError("FORBIDDEN_ORIGIN", `Origin ${JSON.stringify(origin)} is not this API's own`);
  if (fetchSite === "cross-site") throw new ApiError("FORBIDDEN_ORIGIN", "the request comes from a page of another site");
}

/** The name of `name:port` or `[address]:port`, in lower case; undefined when it is neither. */
function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/** An IP address cannot be re-bound by an attacker's DNS; a name other than the machine's own can. */
function isOwnName(name: string, machineName: string): boolean {
  const own = machineName.toLowerCase();
  return isIP(name) !== 0 || name === "localhost" || name.endsWith(".localhost") || name === own || name === `${own}.local`;
}
