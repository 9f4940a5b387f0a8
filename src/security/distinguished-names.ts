// Whose a certificate or a revocation list is, read from its DER (RFC 5280 §4.1, §5.1) without the X.509 library, which takes a quarter of a second to
// load: node:crypto knows nothing of lists. Names compare as OpenSSL compares them, however they are spelled, but for strings of rare kinds (BMPString), which
// equal only their like.
// Pure. Throws RangeError on bytes that are cut off.

interface Element {
  readonly tag: number;
  /** Where its content begins and ends. */
  readonly start: number;
  readonly end: number;
}

const TAG_INTEGER = 0x02;
const TAG_VERSION = 0xa0;
const CONSTRUCTED = 0x20;

/** The name of a certificate's subject, to compare with. */
export function subjectOf(certificate: Uint8Array): string {
  // version, serial number, algorithm, issuer, validity, subject
  const fields = signedFields(certificate);
  return nameOf(certificate, fields[fields[0]?.tag === TAG_VERSION ? 5 : 4]);
}

/** The name of a revocation list's issuer, to compare with. */
export function issuerOfList(list: Uint8Array): string {
  // version, algorithm, issuer
  const fields = signedFields(list);
  return nameOf(list, fields[fields[0]?.tag === TAG_INTEGER ? 2 : 1]);
}

/** What is signed is the first element of the outer sequence. */
function signedFields(der: Uint8Array): readonly Element[] {
  const signed = elements(der, elementAt(der, 0, der.length))[0];
  if (signed === undefined) throw new RangeError("there is nothing in it");
  return elements(der, signed);
}

function nameOf(der: Uint8Array, name: Element | undefined): string {
  if (name === undefined) throw new RangeError("there is no name in it");
  return textOf(der, name);
}

function textOf(der: Uint8Array, element: Element): string {
  if ((element.tag & CONSTRUCTED) !== 0) return elements(der, element).map((inner) => textOf(der, inner)).join("\0");
  return Buffer.from(der.subarray(element.start, element.end)).toString("latin1").trim().replaceAll(/\s+/g, " ").toLowerCase();
}

function elements(der: Uint8Array, outer: Element): readonly Element[] {
  const found: Element[] = [];
  for (let at = outer.start; at < outer.end; at = found.at(-1)!.end) found.push(elementAt(der, at, outer.end));
  return found;
}

/** Tag, length (one byte, or the number of bytes that it takes and those), content. */
function elementAt(der: Uint8Array, at: number, end: number): Element {
  let start = at + 2;
  let size = der[at + 1] ?? 0;
  if (size > 0x7f) {
    const sizeBytes = size & 0x7f;
    size = 0;
    for (const byte of der.subarray(start, start + sizeBytes)) size = size * 256 + byte;
    start += sizeBytes;
  }
  if (start + size > end) throw new RangeError("it is cut off");
  return { tag: der[at]!, start, end: start + size };
}
