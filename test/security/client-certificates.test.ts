// Client certificates signed by the gateway's own authority, and their revocation.
import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { makeCertificates } from "../../src/security/certificate-maker.js";
import { revokeCertificate, revokedSerials, signClient, type ClientFiles } from "../../src/security/client-certificates.js";
import { pemBlock, pemBytes } from "../../src/security/pem.js";
import { describeCertificates } from "../../src/control/certificate-admin.js";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const root = mkdtempSync(join(tmpdir(), "penstock-clients-"));
const certs = join(root, "certs");
const out = join(certs, "clients");
t.teardown(() => rmSync(root, { recursive: true, force: true }));
t.before(() => makeCertificates(certs, NOW));

/** Certificates with two authorities in ca.pem, the old one first, and the new one's key: one follows the other. */
async function rollover(name: string): Promise<{ readonly directory: string; readonly old: string }> {
  const [directory, old] = [join(root, name), join(root, `${name}-old`)];
  await makeCertificates(directory, NOW);
  await makeCertificates(old, NOW);
  writeFileSync(join(directory, "ca.pem"), readFileSync(join(old, "ca.pem"), "utf8") + readFileSync(join(directory, "ca.pem"), "utf8"));
  return { directory, old };
}

/** What openssl says of a client's certificate. */
function verify(directory: string, certificate: string, at = NOW): string {
  const { stdout, stderr } = spawnSync("openssl", ["verify", "-purpose", "sslclient", "-attime", String(at / 1000), "-crl_check", "-CAfile", join(directory, "ca.pem"), "-CRLfile", join(directory, "crl.pem"), certificate], { encoding: "utf8", timeout: 20_000 });
  return stdout + stderr;
}

t.test("a client's certificate is for clients, named, signed by the authority; its key is private", async (t) => {
  const files = await signClient(certs, "sensor-7", out, 30, false, NOW);
  const certificate = new X509Certificate(readFileSync(files.certificate));
  const ca = new X509Certificate(readFileSync(join(certs, "ca.pem")));
  t.equal(certificate.subject, "CN=sensor-7");
  t.equal(certificate.subjectAltName, "DNS:sensor-7");
  t.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
  t.notOk(certificate.ca);
  t.same(certificate.keyUsage, ["1.3.6.1.5.5.7.3.2"], "client authentication");
  t.equal(Date.parse(certificate.validTo), NOW + 30 * 86_400_000);
  t.equal(statSync(files.key).mode & 0o777, 0o600);
  t.ok(certificate.checkPrivateKey((await import("node:crypto")).createPrivateKey(readFileSync(files.key))));
});

t.test("a name that has files is not overwritten but when asked", async (t) => {
  const files = await signClient(certs, "twice", out, 30, false, NOW);
  const before = readFileSync(files.certificate, "utf8");
  await t.rejects(signClient(certs, "twice", out, 30, false, NOW), { code: "CERTIFICATE_BAD", message: /is there already.*--replace/ });
  t.equal(readFileSync(files.certificate, "utf8"), before);
  await signClient(certs, "twice", out, 30, true, NOW);
  t.not(readFileSync(files.certificate, "utf8"), before);
});

t.test("names that would mean something in a path, a topic or a subject are refused", async (t) => {
  for (const name of ["", "../up", "a/b", ".hidden", "-flag", "a+b", "a#", "a,CN=b", "a b", "ü", "x".repeat(65)]) {
    await t.rejects(signClient(certs, name, out, 30, false, NOW), { code: "CERTIFICATE_BAD" }, JSON.stringify(name));
  }
});

t.test("without the authority's key, or when others can read it, nothing is signed", async (t) => {
  const other = join(root, "other");
  await makeCertificates(other, NOW);
  chmodSync(join(other, "ca-key.pem"), 0o640);
  await t.rejects(signClient(other, "a", out, 30, false, NOW), { message: /chmod 600 .*ca-key\.pem/ });
  rmSync(join(other, "ca-key.pem"));
  await t.rejects(signClient(other, "a", out, 30, false, NOW), { message: /ca-key\.pem is missing/ });
  t.notOk(existsSync(join(out, "a.pem")));
});

t.test("revoked certificates are listed once each, in a list of the authority", async (t) => {
  const one = await signClient(certs, "one", out, 30, false, NOW);
  const two = await signClient(certs, "two", out, 30, false, NOW);
  t.equal(await revokeCertificate(certs, one.certificate, NOW), 1);
  t.equal(await revokeCertificate(certs, two.certificate, NOW), 2);
  t.equal(await revokeCertificate(certs, one.certificate, NOW), 2);
  const serials = [one, two].map(({ certificate }) => new X509Certificate(readFileSync(certificate)).serialNumber.toLowerCase());
  t.same([...revokedSerials(join(certs, "crl.pem"))].sort(), serials.sort());
  const shown = await describeCertificates(certs);
  t.match(shown, /one\.pem\n {2}subject: +CN=one\n(?: .*\n)*? {2}valid: .*, revoked/);
  t.match(shown, /sensor-7\.pem\n {2}subject: +CN=sensor-7\n(?: .*\n)*? {2}valid: +(?!.*revoked).*\n/);
});

t.test("what another authority signed is not revoked; a list that only bears this one's name is not taken for its own", async (t) => {
  const other = join(root, "strangers");
  await makeCertificates(other, NOW);
  const stranger = await signClient(other, "stranger", join(other, "clients"), 30, false, NOW);
  await t.rejects(revokeCertificate(certs, stranger.certificate, NOW), { message: /was not signed by/ });
  const own = await signClient(certs, "own", out, 30, false, NOW);
  const list = readFileSync(join(certs, "crl.pem"), "utf8");
  const bytes = pemBytes(list);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(join(certs, "crl.pem"), pemBlock("X509 CRL", bytes));
  await t.rejects(revokeCertificate(certs, own.certificate, NOW), { message: /crl\.pem holds a list .*was not signed by/ });
  writeFileSync(join(certs, "crl.pem"), list);
  await t.rejects(revokeCertificate(certs, join(root, "nothing.pem"), NOW), { message: /nothing\.pem is missing/ });
});

t.test("with two authorities in ca.pem the one whose key is there signs and lists, wherever it stands", async (t) => {
  const { directory, old } = await rollover("rollover");
  const kept = await signClient(directory, "kept", join(directory, "clients"), 30, false, NOW);
  const lost = await signClient(directory, "lost", join(directory, "clients"), 30, false, NOW);
  t.equal(await revokeCertificate(directory, lost.certificate, NOW), 1);
  t.match(verify(directory, kept.certificate), /kept\.pem: OK/);
  t.match(verify(directory, lost.certificate), /certificate revoked/);
  const before = await signClient(old, "before", join(old, "clients"), 30, false, NOW);
  const list = readFileSync(join(directory, "crl.pem"), "utf8");
  await t.rejects(revokeCertificate(directory, before.certificate, NOW), { code: "CERTIFICATE_BAD", message: /before\.pem was not signed by .*where their authority's key is kept/ });
  t.equal(readFileSync(join(directory, "crl.pem"), "utf8"), list);
});

t.test("lists of other authorities in crl.pem stay, and so does what they revoked", async (t) => {
  for (const isFirst of [true, false]) {
    const { directory, old } = await rollover(isFirst ? "first" : "last");
    const clients = async (from: string): Promise<ClientFiles[]> => [await signClient(from, "kept", join(from, "clients"), 30, false, NOW), await signClient(from, "lost", join(from, "clients"), 30, false, NOW)];
    const [[oldKept, oldLost], [kept, lost]] = [await clients(old), await clients(directory)] as [[ClientFiles, ClientFiles], [ClientFiles, ClientFiles]];
    await revokeCertificate(old, oldLost.certificate, NOW);
    const theirs = readFileSync(join(old, "crl.pem"), "utf8");
    if (isFirst) writeFileSync(join(directory, "crl.pem"), theirs);
    t.equal(await revokeCertificate(directory, lost.certificate, NOW), 1);
    if (!isFirst) writeFileSync(join(directory, "crl.pem"), `${readFileSync(join(directory, "crl.pem"), "utf8")}of the old authority\n${theirs}`);
    t.equal(await revokeCertificate(directory, lost.certificate, NOW), 1, "replaced, not added");
    const text = readFileSync(join(directory, "crl.pem"), "utf8");
    t.ok(text.includes(theirs.trimEnd()));
    t.equal(text.split("BEGIN X509 CRL").length - 1, 2);
    for (const one of [oldKept, kept]) t.match(verify(directory, one.certificate), /kept\.pem: OK/);
    for (const one of [oldLost, lost]) t.match(verify(directory, one.certificate), /certificate revoked/);
    t.same([...revokedSerials(join(directory, "crl.pem"))].sort(), [oldLost, lost].map(({ certificate }) => new X509Certificate(readFileSync(certificate)).serialNumber.toLowerCase()).sort());
  }
});

t.test("revocations at the same time: each is on the list, or was refused saying why", async (t) => {
  const directory = join(root, "together");
  await makeCertificates(directory, NOW);
  const lost = await Promise.all(Array.from({ length: 4 }, (_, index) => signClient(directory, `lost-${index}`, join(directory, "clients"), 30, false, NOW)));
  const results = await Promise.allSettled(lost.map(({ certificate }) => revokeCertificate(directory, certificate, NOW)));
  const listed = revokedSerials(join(directory, "crl.pem"));
  const revoked = lost.filter((_, index) => results[index]!.status === "fulfilled").map(({ certificate }) => new X509Certificate(readFileSync(certificate)).serialNumber.toLowerCase());
  t.ok(revoked.length > 0);
  t.same([...listed].sort(), revoked.sort());
  for (const result of results) if (result.status === "rejected") t.match(result.reason, { code: "CERTIFICATE_BAD", message: /crl\.pem\.new is there: another `penstock cert revoke` runs/ });
  for (const { certificate } of lost) await revokeCertificate(directory, certificate, NOW);
  t.equal(revokedSerials(join(directory, "crl.pem")).length, lost.length, "nothing is left behind that keeps others away");
  writeFileSync(join(directory, "crl.pem"), "noise");
  await t.rejects(revokeCertificate(directory, lost[0]!.certificate, NOW), { message: /holds no revocation list/ });
  t.notOk(existsSync(join(directory, "crl.pem.new")), "also after a failure");
});

t.test("an authority that follows one of the same name revokes beside it", async (t) => {
  const { directory, old } = await rollover("namesakes");
  for (const [from, key] of [[directory, "new"], [old, "old"]] as const) {
    const parameters = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Namesake", "-days", "30", "-keyout", join(from, "ca-key.pem"), "-out", join(root, `${key}.pem`)];
    t.equal(spawnSync("openssl", parameters, { timeout: 20_000 }).status, 0);
  }
  writeFileSync(join(old, "ca.pem"), readFileSync(join(root, "old.pem")));
  writeFileSync(join(directory, "ca.pem"), readFileSync(join(root, "old.pem"), "utf8") + readFileSync(join(root, "new.pem"), "utf8"));
  const now = 1000 * Math.ceil(Date.now() / 1000);
  const [before, lost, kept] = [await signClient(old, "before", join(old, "clients"), 10, false, now), await signClient(directory, "lost", join(directory, "clients"), 10, false, now), await signClient(directory, "kept", join(directory, "clients"), 10, false, now)];
  await revokeCertificate(old, before.certificate, now);
  copyFileSync(join(old, "crl.pem"), join(directory, "crl.pem"));
  await revokeCertificate(directory, lost.certificate, now);
  t.match(verify(directory, kept.certificate, now), /kept\.pem: OK/);
  for (const one of [before, lost]) t.match(verify(directory, one.certificate, now), /certificate revoked/);
});

t.test("a key that belongs to no authority in ca.pem, or that cannot be read, signs nothing", async (t) => {
  const { directory, old } = await rollover("keyless");
  const { certificate } = await signClient(directory, "one", join(directory, "clients"), 30, false, NOW);
  copyFileSync(join(old, "ca.pem"), join(directory, "ca.pem"));
  await t.rejects(signClient(directory, "two", join(directory, "clients"), 30, false, NOW), { code: "CERTIFICATE_BAD", message: /ca-key\.pem belongs to none .*ca\.pem.*another PEM block/ });
  await t.rejects(revokeCertificate(directory, certificate, NOW), { code: "CERTIFICATE_BAD", message: /belongs to none/ });
  t.notOk(existsSync(join(directory, "clients", "two.pem")));
  t.notOk(existsSync(join(directory, "crl.pem")));
  writeFileSync(join(directory, "ca-key.pem"), "noise");
  await t.rejects(signClient(directory, "two", join(directory, "clients"), 30, false, NOW), { code: "CERTIFICATE_BAD", message: /ca-key\.pem is no usable private key/ });
});
