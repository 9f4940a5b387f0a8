// PEM files: each may hold several blocks, with any text between them. Pure.

/** The blocks of a kind such as "CERTIFICATE", in their order, each from its first line to its last. */
export function pemBlocks(text: string, kind: string): readonly string[] {
  return text.match(new RegExp(`-----BEGIN ${kind}-----[\\s\\S]+?-----END ${kind}-----`, "g")) ?? [];
}

/** The bytes of a block. */
export function pemBytes(block: string): Buffer {
  return Buffer.from(block.replaceAll(/-----[^-]+-----/g, ""), "base64");
}

export function pemBlock(kind: string, bytes: Uint8Array): string {
  return `-----BEGIN ${kind}-----\n${Buffer.from(bytes).toString("base64").replaceAll(/.{64}/g, "$&\n").trimEnd()}\n-----END ${kind}-----`;
}
