// Authentication as the configuration has it, in the form that shards take; and the password file's commands, for src/cli. On main's thread.
import { existsSync } from "node:fs";
import type { AuthOptions } from "../base/authenticator.js";
import { checkAuthFiles } from "../security/authenticator.js";
import type { Config } from "./config/config.js";

export { deleteUser, listUsers, setUser } from "../security/passwd.js";

export function authOptions(config: Config): AuthOptions {
  const { password_file, jwt, http } = config.auth;
  const hasTokens = jwt.secret_file !== "" || jwt.jwks_file !== "";
  return {
    passwordFile: password_file,
    tokens: hasTokens
      ? {
          secretFile: jwt.secret_file, keySetFile: jwt.jwks_file, issuer: jwt.issuer, audience: jwt.audience,
          userClaim: jwt.user_claim, groupsClaim: jwt.groups_claim, leewayMs: jwt.leeway,
        }
      : null,
    http: http.url === ""
      ? null
      : { url: http.url, tokenFile: http.token_file, deadlineMs: http.deadline, cacheMs: http.cache, staleMs: http.stale, validForMs: http.valid_for, concurrency: http.concurrency },
  };
}

/** Reads all files that authentication needs. @throws StartError AUTH_FILE_BAD */
export function checkAuthentication(config: Config): void {
  checkAuthFiles(authOptions(config), existsSync);
}
