// Certificates: those we make, verified by Node's own TLS; those of others, in all the ways they can be wrong.
import { generateKeyPairSync, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import t from "tap";
import { StartError } from "../../src/base/errors.js";
import { DEFAULT_NAMES, loadCertificates, needsCertificates, verifierOf, type CertificateNames } from "../../src/security/certificates.js";
import { makeCertificates } from "../../src/security/certificate-maker.js";
import { revokeCertificate, signClient } from "../../src/security/client-certificates.js";
import { issuerOfList, subjectOf } from "../../src/security/distinguished-names.js";
import { pemBytes } from "../../src/security/pem.js";
import { watchCertificates } from "../../src/security/certificate-watch.js";
import { Lines } from "../control/supervisor-fixture.js";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const root = mkdtempSync(join(tmpdir(), "penstock-certificates-"));
const made = join(root, "made");
const others = join(root, "others");
t.teardown(() => rmSync(root, { recursive: true, force: true }));

/** A copy of the made certificates that a test may spoil. */
function copy(name: string): string {
  const directory = join(root, name);
  cpSync(made, directory, { recursive: true });
  return directory;
}

t.before(async () => {
  await makeCertificates(made, NOW);
  await makeCertificates(others, NOW);
});

t.test("a directory without certificates needs them, one with any of them does not", async (t) => {
  const directory = join(root, "empty");
  t.ok(needsCertificates(directory), "not even the directory is there");
  mkdirSync(directory);
  t.ok(needsCertificates(directory));
  writeFileSync(join(directory, "README.md"), "");
  t.ok(needsCertificates(directory));
  copyFileSync(join(made, "cert.pem"), join(directory, "cert.pem"));
  t.notOk(needsCertificates(directory));
});

t.test("the ones we make are whole: names, dates, key usage, modes, chain", async (t) => {
  const { files, warnings } = loadCertificates(made, NOW);
  t.same(warnings, []);
  const leaf = new X509Certificate(files.certificate);
  const ca = new X509Certificate(files.ca);
  t.ok(ca.ca);
  t.notOk(leaf.ca);
  t.ok(leaf.verify(ca.publicKey));
  t.ok(ca.verify(ca.publicKey));
  t.ok(leaf.checkIssued(ca));
  t.equal(leaf.checkHost("localhost"), "localhost");
  t.equal(leaf.checkHost("example.org"), undefined);
  if (/^[a-z0-9.-]+$/i.test(hostname())) t.ok(leaf.checkHost(hostname()), hostname());
  t.equal(leaf.checkIP("127.0.0.1"), "127.0.0.1");
  t.equal(leaf.checkIP("::1"), "::1");
  t.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  t.same(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"], "server authentication");
  t.ok(Date.parse(leaf.validFrom) < Date.parse("2021-01-01"), "backdated");
  t.ok(Date.parse(leaf.validTo) > Date.parse("2030-01-01"));
  for (const name of ["key.pem", "ca-key.pem"]) t.equal(statSync(join(made, name)).mode & 0o777, 0o600, name);
  t.not(new X509Certificate(loadCertificates(others, NOW).files.ca).serialNumber, ca.serialNumber);
});

t.test("a box whose clock says 1970 makes certificates that hold when it is set", async (t) => {
  const directory = join(root, "clockless");
  await makeCertificates(directory, 1000);
  t.same(loadCertificates(directory, NOW).warnings, []);
  t.ok(Date.parse(new X509Certificate(readFileSync(join(directory, "cert.pem"))).validTo) > Date.parse("2030-01-01"));
});

t.test("a TLS client that trusts ca.pem accepts them, for localhost and 127.0.0.1; one that trusts another CA does not", async (t) => {
  const { files } = loadCertificates(made, NOW);
  const server = createServer({ cert: files.certificate, key: files.key }, (socket) => socket.end("hello"));
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  for (const name of ["localhost", "127.0.0.1"]) {
    const client = connect({ host: "127.0.0.1", port, ca: files.ca, ...(name === "localhost" ? { servername: name } : {}) });
    await once(client, "secureConnect");
    t.ok(client.authorized, name);
    client.destroy();
  }
  const stranger = connect({ host: "127.0.0.1", port, ca: loadCertificates(others, NOW).files.ca });
  const [error] = (await once(stranger, "error")) as [Error & { code?: string }];
  t.match(error.code, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER/);
});

/** Name, how the copy is spoiled, what is said. */
const REFUSED: readonly (readonly [string, (directory: string) => void, RegExp])[] = [
  ["a missing key", (directory) => rmSync(join(directory, "key.pem")), /key\.pem is missing/],
  ["a missing CA", (directory) => rmSync(join(directory, "ca.pem")), /ca\.pem is missing/],
  ["the key of another certificate", (directory) => copyFileSync(join(others, "key.pem"), join(directory, "key.pem")), /key\.pem does not belong to .*cert\.pem/],
  ["a cut certificate", (directory) => truncateSync(join(directory, "cert.pem"), 300), /cert\.pem holds no certificate/],
  ["an empty certificate", (directory) => truncateSync(join(directory, "cert.pem")), /cert\.pem holds no certificate/],
  ["a certificate of noise", (directory) => writeFileSync(join(directory, "cert.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), /cert\.pem is damaged/],
  ["a CA of noise", (directory) => writeFileSync(join(directory, "ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), /ca\.pem is damaged/],
  ["a key of noise", (directory) => writeFileSync(join(directory, "key.pem"), "noise"), /key\.pem is no usable private key/],
  [
    "an encrypted key",
    (directory) => {
      const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      writeFileSync(join(directory, "key.pem"), privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }));
    },
    /it is encrypted/,
  ],
  ["a key that everybody may read", (directory) => chmodSync(join(directory, "key.pem"), 0o644), /can be read by other users \(mode 644\).*chmod 600/],
  ["a key that its group may change", (directory) => chmodSync(join(directory, "key.pem"), 0o660), /can be read by its group \(mode 660\).*chmod 600/],
  ["a key that its group may read", (directory) => chmodSync(join(directory, "key.pem"), 0o640), /can be read by its group \(mode 640\).*chmod 600/],
  ["a CA key that everybody may read", (directory) => chmodSync(join(directory, "ca-key.pem"), 0o604), /ca-key\.pem can be read by other users/],
  ["a revocation list of noise", (directory) => writeFileSync(join(directory, "crl.pem"), "noise"), /crl\.pem holds no revocation list/],
];
for (const [name, spoil, words] of REFUSED) {
  t.test(`refuses ${name}, saying what to do`, async (t) => {
    const directory = copy(name.replaceAll(" ", "-"));
    spoil(directory);
    try {
      loadCertificates(directory, NOW);
      t.fail("it was accepted");
    } catch (error) {
      t.ok(error instanceof StartError);
      t.equal((error as StartError).code, "CERTIFICATE_BAD");
      t.match((error as StartError).message, words);
    }
  });
}

t.test("what is missing under a name of the operator's own is not mended by removing the authority", async (t) => {
  const directory = copy("named");
  const message = (names: Partial<CertificateNames>): string => {
    try {
      loadCertificates(directory, NOW, { certificate: "cert.pem", key: "key.pem", ca: "ca.pem", crl: "crl.pem", ...names });
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  for (const option of ["certificate", "key", "ca", "crl"] as const) {
    const text = message({ [option]: "/nowhere/own.pem" });
    t.match(text, `/nowhere/own.pem is missing. Put it there, or name another file in the listener's ${option}.`);
    t.notMatch(text, "remove");
  }
  const mismatch = message({ certificate: join(others, "cert.pem") });
  t.match(mismatch, "does not belong to");
  t.notMatch(mismatch, "remove");
  rmSync(join(directory, "key.pem"));
  t.match(message({}), /key\.pem is missing\. Put it there, or remove cert\.pem, key\.pem and ca\.pem to have new ones made .*all clients need the new ca\.pem/);
});

t.test("clients verify the gateway by the file that holds the root of its certificate, whoever signs the clients'", async (t) => {
  const directory = copy("verified");
  const names = { certificate: "cert.pem", key: "key.pem", ca: "ca.pem", crl: "crl.pem" };
  const shown = { certificate: join(others, "cert.pem"), key: join(others, "key.pem") };
  t.equal(verifierOf(directory, DEFAULT_NAMES), join(directory, "ca.pem"));
  t.equal(verifierOf(directory, { ...names, ca: join(others, "ca.pem") }), join(directory, "ca.pem"), "the clients' authority is another one");
  t.equal(verifierOf(directory, { ...names, ...shown }), undefined, "nobody's here");
  t.equal(verifierOf(directory, { ...names, ...shown, ca: join(others, "ca.pem") }), join(others, "ca.pem"));
  const chain = join(directory, "chain.pem");
  writeFileSync(chain, readFileSync(shown.certificate, "utf8") + readFileSync(join(others, "ca.pem"), "utf8"));
  t.equal(verifierOf(directory, { ...names, ...shown, certificate: chain }), chain, "its own root is in the chain");
});

t.test("dates are warnings with what to do", async (t) => {
  const directory = copy("warned");
  const end = Date.parse(new X509Certificate(readFileSync(join(directory, "cert.pem"))).validTo);
  t.match(loadCertificates(directory, end + 1000).warnings, [/cert\.pem expired on .*Replace it/]);
  t.match(loadCertificates(directory, end - 24 * 3600 * 1000).warnings, [/cert\.pem expires on/]);
  const named = { certificate: join(directory, "cert.pem"), key: "key.pem", ca: "ca.pem", crl: "crl.pem" };
  t.match(loadCertificates(directory, end + 1000, named).warnings, [/cert\.pem expired on .*Replace it \(it is taken over without a restart\)\.$/], "the operator's own are not made anew");
  t.match(loadCertificates(directory, Date.parse("2019-01-01")).warnings, [/valid from .* check this machine's clock/, /ca\.pem/]);
});

t.test("an authority without a revocation list is warned of when there are lists: its clients are refused", async (t) => {
  const directory = copy("unlisted");
  const old = copy("unlisted-old");
  for (const name of ["ca.pem", "ca-key.pem", "cert.pem", "key.pem"]) copyFileSync(join(others, name), join(old, name));
  const revoke = async (from: string): Promise<string> => {
    const { certificate } = await signClient(from, "lost", join(from, "clients"), 30, true, NOW);
    await revokeCertificate(from, certificate, NOW);
    return readFileSync(join(from, "crl.pem"), "utf8");
  };
  const ca = readFileSync(join(directory, "ca.pem"), "utf8");
  writeFileSync(join(directory, "ca.pem"), readFileSync(join(old, "ca.pem"), "utf8") + ca);
  t.same(loadCertificates(directory, NOW).warnings, [], "without a list none is needed");
  const own = await revoke(directory);
  const oldName = new X509Certificate(readFileSync(join(old, "ca.pem"))).subject;
  t.match(loadCertificates(directory, NOW).warnings, [`has no list of the authority ${oldName} in `]);
  t.equal(loadCertificates(directory, NOW).warnings.length, 1);
  const theirs = await revoke(old);
  writeFileSync(join(directory, "crl.pem"), own + theirs);
  t.same(loadCertificates(directory, NOW).warnings, []);
  writeFileSync(join(directory, "crl.pem"), theirs);
  t.match(loadCertificates(directory, NOW).warnings, [`has no list of the authority ${new X509Certificate(ca).subject} in `]);
  const der = pemBytes(theirs);
  for (let size = 0; size < der.length; size++) t.throws(() => issuerOfList(der.subarray(0, size)), { name: "RangeError" }, `cut at ${size}`);
});

t.test("names are the same however they are spelled", async (t) => {
  /** A sequence, a set, an object identifier and a string, nested as in a certificate's subject. */
  const wrap = (tag: number, ...parts: readonly Buffer[]): Buffer => Buffer.concat([Buffer.from([tag, Buffer.concat(parts).length]), ...parts]);
  const name = (text: string, tag: number): Buffer => wrap(0x30, wrap(0x31, wrap(0x30, wrap(0x06, Buffer.from([0x55, 4, 3])), wrap(tag, Buffer.from(text)))));
  const list = (issuer: Buffer, hasVersion: boolean): Buffer => wrap(0x30, wrap(0x30, ...(hasVersion ? [wrap(0x02, Buffer.from([1]))] : []), wrap(0x30), issuer));
  const certificate = (subject: Buffer, hasVersion: boolean): Buffer => wrap(0x30, wrap(0x30, ...(hasVersion ? [wrap(0xa0, wrap(0x02, Buffer.from([2])))] : []), wrap(0x02, Buffer.from([1])), wrap(0x30), name("issuer", 12), wrap(0x30), subject));
  const wanted = issuerOfList(list(name("Penstock CA", 12), true));
  t.equal(issuerOfList(list(name("  penstock  ca", 19), false)), wanted);
  t.equal(subjectOf(certificate(name("PENSTOCK CA", 19), true)), wanted);
  t.equal(subjectOf(certificate(name("PENSTOCK CA", 19), false)), wanted);
  t.not(subjectOf(certificate(name("Penstock CB", 12), true)), wanted);
  for (const bytes of [Buffer.alloc(0), wrap(0x30), wrap(0x30, wrap(0x30))]) t.throws(() => issuerOfList(bytes), { name: "RangeError" });
});

t.test("changed files are taken over once they are whole; until then the old ones stay, with a warning", async (t) => {
  const directory = copy("watched");
  const lines = new Lines();
  const applied: string[] = [];
  const watch = watchCertificates({ directory, log: lines.log, current: loadCertificates(directory, NOW), apply: (files) => applied.push(files.certificate) });
  t.teardown(() => watch.close());
  copyFileSync(join(others, "cert.pem"), join(directory, "cert.pem"));
  await lines.find("a warning", ({ level, text }) => level === "warn" && /does not belong/.test(text) && /old ones stay/.test(text));
  t.same(applied, []);
  copyFileSync(join(others, "key.pem"), join(directory, "key.pem"));
  await lines.find("new certificates", ({ text }) => text.startsWith("new certificates are in use"));
  t.same(applied, [readFileSync(join(others, "cert.pem"), "utf8")]);
  watch.reload();
  t.equal(applied.length, 1, "nothing changed since");
});

t.test("certificates that cannot be applied leave the old ones in use", async (t) => {
  const directory = copy("unapplied");
  const lines = new Lines();
  const watch = watchCertificates({
    directory, log: lines.log, current: loadCertificates(others, NOW),
    apply: () => {
      throw new Error("the front refuses");
    },
  });
  t.teardown(() => watch.close());
  watch.reload();
  t.match(lines.all.map(({ text }) => text), [/the old ones stay in use: the front refuses/]);
  watch.reload();
  t.equal(lines.all.length, 2, "they are tried again");
});
