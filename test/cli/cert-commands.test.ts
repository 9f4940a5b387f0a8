// `penstock cert client` and `cert revoke` as users run them, with listeners whose files lie elsewhere: what has no effect is said, not passed over.
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { EXIT } from "../../src/control/exit-codes.js";
import { makeCertificates } from "../../src/security/certificate-maker.js";
import { revokedSerials } from "../../src/security/client-certificates.js";

const MAIN = new URL("../../src/main.js", import.meta.url).pathname;

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Place {
  readonly directory: string;
  readonly certs: string;
  /** `cert` with these parameters; `listeners` is YAML. */
  readonly cert: (listeners: string, ...parameters: readonly string[]) => Outcome;
}

/** A directory with certificates, and another one with those of somebody else. */
async function place(t: Test): Promise<Place> {
  const directory = t.testdir({ "penstock.yaml": "" });
  const certs = join(directory, "certs");
  await makeCertificates(certs, Date.now());
  await makeCertificates(join(directory, "other"), Date.now());
  const file = join(directory, "penstock.yaml");
  const cert = (listeners: string, ...parameters: readonly string[]): Outcome => {
    writeFileSync(file, `listeners: { ${listeners.includes("https:") ? "" : "https: false, "}${listeners} }\n`);
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "--config", file, "cert", ...parameters], { cwd: directory, encoding: "utf8", timeout: 60_000, env: { PATH: process.env["PATH"] } });
    return { status, stdout, stderr };
  };
  return { directory, certs, cert };
}

const REVOKED = /seven\.pem is revoked \(1 on the list\)\. .*ends its connections\.\n$/;

t.test("with the usual files nothing is to be said", async (t) => {
  const { certs, cert } = await place(t);
  t.match(cert("", "client", "seven"), { status: EXIT.OK, stdout: /mosquitto_pub -h localhost -p 8883 --cafile \S+certs\/ca\.pem --cert/, stderr: "" });
  t.match(cert("mqtts: { port: 18883 }", "client", "eight"), { status: EXIT.OK, stdout: /-p 18883 / });
  t.match(cert("", "revoke", "seven"), { status: EXIT.OK, stdout: REVOKED, stderr: "" });
  t.equal(revokedSerials(join(certs, "crl.pem")).length, 1);
});

t.test("a listener that reads another list goes on accepting: alone it makes the command fail, beside others it is named", async (t) => {
  const { directory, certs, cert } = await place(t);
  t.match(cert("", "client", "seven"), { status: EXIT.OK });
  const elsewhere = join(directory, "lists", "crl.pem");
  mkdirSync(join(directory, "lists"));
  writeFileSync(elsewhere, "");
  t.match(cert(`mqtts: { crl: ${elsewhere} }`, "revoke", "seven"), { status: EXIT.START, stdout: "", stderr: /seven\.pem was not revoked, since no listener .*listeners\.mqtts goes on accepting it: it reads .*lists\/crl\.pem, not .*Set listeners\.mqtts\.crl to/ });
  t.notOk(existsSync(join(certs, "crl.pem")), "nothing is written");
  t.match(cert(`https: {}, mqtts: { crl: ${elsewhere} }`, "revoke", "seven"), { status: EXIT.OK, stdout: /is revoked .*but not at listeners\.mqtts\./, stderr: /^Warning: listeners\.mqtts goes on accepting it: .*\n$/ });
});

t.test("the same list by another path is the same list", async (t) => {
  const { directory, certs, cert } = await place(t);
  t.match(cert("", "client", "seven"), { status: EXIT.OK });
  symlinkSync("certs", join(directory, "linked"));
  t.match(cert(`mqtts: { crl: ${join(directory, "linked", "crl.pem")} }`, "revoke", "seven"), { status: EXIT.OK, stdout: REVOKED, stderr: "" });
  symlinkSync(join("certs", "crl.pem"), join(directory, "crl-link.pem"));
  t.match(cert(`mqtts: { crl: ${join(directory, "crl-link.pem")} }`, "revoke", "seven"), { status: EXIT.OK, stdout: REVOKED, stderr: "" });
  // A link in the list's own place is replaced: who reads what it led to reads another list from then on.
  renameSync(join(certs, "crl.pem"), join(directory, "real.pem"));
  symlinkSync(join(directory, "real.pem"), join(certs, "crl.pem"));
  t.match(cert(`mqtts: { crl: ${join(directory, "real.pem")} }`, "revoke", "seven"), { status: EXIT.START, stderr: /was not revoked/ });
});

t.test("a listener that does not trust the authority takes neither its certificates nor its list", async (t) => {
  const { directory, certs, cert } = await place(t);
  const ca = join(directory, "other", "ca.pem");
  t.match(cert(`mqtts: { ca: ${ca} }`, "client", "seven"), { status: EXIT.OK, stdout: /seven\.pem\n.*seven-key\.pem\n$/, stderr: /^Warning: listeners\.mqtts does not accept it: its authority is not in .*other\/ca\.pem\.\n$/ });
  t.match(cert(`mqtts: { ca: ${ca} }`, "revoke", "seven"), { status: EXIT.START, stdout: "", stderr: /was not revoked.*listeners\.mqtts does not accept it anyway/ });
  t.notOk(existsSync(join(certs, "crl.pem")), "a list there would have refused all clients of the other authority");
  const copied = join(directory, "copied.pem");
  copyFileSync(join(certs, "ca.pem"), copied);
  t.match(cert(`mqtts: { ca: ${copied} }`, "client", "eight"), { status: EXIT.OK, stderr: "" }, "a copy of the authority is the authority");
  t.match(cert(`mqtts: { ca: ${copied} }`, "revoke", "eight"), { status: EXIT.OK, stderr: "" });
});

t.test("an authority that has no list when there is one is said to be refused", async (t) => {
  const { directory, certs, cert } = await place(t);
  appendFileSync(join(certs, "ca.pem"), readFileSync(join(directory, "other", "ca.pem")));
  t.match(cert("", "client", "seven"), { status: EXIT.OK, stderr: "" });
  const shown = cert("", "show").stdout;
  for (const name of ["certs", "other"]) t.ok(shown.includes(new X509Certificate(readFileSync(join(directory, name, "ca.pem"))).fingerprint256), `${name}: both authorities are shown`);
  t.match(cert("", "revoke", "seven"), { status: EXIT.OK, stdout: REVOKED, stderr: /^Warning: .*crl\.pem has no list of the authority CN=Penstock CA .*are refused.*\n$/ });
});

t.test("when nobody asks for client certificates that is said; when authorities cannot be read, too", async (t) => {
  const { cert } = await place(t);
  t.match(cert("mqtts: { client_certificate: off }", "client", "seven"), { status: EXIT.OK, stdout: /seven-key\.pem\n$/, stderr: /^Warning: no listener asks for client certificates .*\n$/ });
  t.match(cert("mqtts: false", "revoke", "seven"), { status: EXIT.OK, stdout: /is revoked/, stderr: /^Warning: no listener asks/ });
  t.match(cert("mqtts: { ca: gone.pem }", "revoke", "seven"), { status: EXIT.OK, stdout: /is revoked/, stderr: /^Warning: it is not known whom listeners\.mqtts trusts: .*gone\.pem is missing/ });
  t.match(cert("", "client", "nine", "--out", "/dev/null/clients"), { status: EXIT.START, stderr: /^ENOTDIR[^\n]*\n$/ }, "one line, no stack");
  t.match(cert("", "revoke", "nobody"), { status: EXIT.START, stderr: /nobody is missing/ });
  t.match(cert("", "revoke", "penstock.yaml"), { status: EXIT.START, stderr: /penstock\.yaml holds no certificate/ });
});
