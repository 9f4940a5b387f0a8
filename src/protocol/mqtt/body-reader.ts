// Walks the body of a control packet that is not hot, checking each field: what mqtt-packet does not check is checked here.
import type { Frame } from "./fixed-header.js";
import { readUint16, readVariableInteger, variableIntegerSize } from "./integers.js";
import { PROPERTY, SeenProperties, binaryEnd, propertyEnd, stringEnd, topicEnd, type Place } from "./properties.js";
import { malformed } from "./refusals.js";
import type { UserProperties } from "./control-values.js";

/** What a property section says beyond what mqtt-packet returns faithfully. */
export interface PropertySection {
  /** In their order; mqtt-packet groups them by name and loses an empty first value. */
  readonly userProperties: UserProperties;
  /** Where each property but the user properties begins (its identifier), by identifier. */
  readonly positions: ReadonlyMap<number, number>;
  readonly at: number;
  readonly end: number;
}

/** REQUIRES: the frame lies whole in `bytes`. Every method throws ProtocolError MQTT_MALFORMED (wire 0x81) when the field is cut off. */
export class BodyReader {
  at: number;
  private readonly bytes: Uint8Array;
  private readonly end: number;

  constructor(bytes: Uint8Array, frame: Frame) {
    this.bytes = bytes;
    this.at = frame.bodyAt;
    this.end = frame.end;
  }

  get isAtEnd(): boolean {
    return this.at === this.end;
  }

  uint8(field: string): number {
    if (this.end - this.at < 1) throw malformed(`the ${field} is cut off`);
    return this.bytes[this.at++]!;
  }

  uint16(field: string): number {
    if (this.end - this.at < 2) throw malformed(`the ${field} is cut off`);
    this.at += 2;
    return readUint16(this.bytes, this.at - 2);
  }

  /** Passes a UTF-8 string. @returns size of its bytes */
  string(): number {
    return this.pass(stringEnd(this.bytes, this.at, this.end));
  }

  /** Passes a topic name. @throws ProtocolError MQTT_PROTOCOL (wire 0x90) too */
  topic(): number {
    return this.pass(topicEnd(this.bytes, this.at, this.end));
  }

  /** Passes binary data. */
  binary(): number {
    return this.pass(binaryEnd(this.bytes, this.at, this.end));
  }

  /** Passes a property section. @throws ProtocolError as `propertyEnd` */
  properties(place: Place): PropertySection {
    const length = readVariableInteger(this.bytes, this.at, this.end);
    const at = this.at + variableIntegerSize(length);
    const end = at + length;
    if (end > this.end) throw malformed("the properties are cut off");
    const seen = new SeenProperties();
    const userProperties: (readonly [string, string])[] = [];
    const positions = new Map<number, number>();
    for (let next = at; next < end; ) {
      const idAt = next;
      next = propertyEnd(this.bytes, idAt, end, place, seen);
      if (this.bytes[idAt] === PROPERTY.USER_PROPERTY) userProperties.push(this.pair(idAt + 1));
      else positions.set(this.bytes[idAt]!, idAt);
    }
    this.at = end;
    return { userProperties, positions, at, end };
  }

  /** @throws ProtocolError MQTT_MALFORMED (wire 0x81) when bytes are left */
  finish(): void {
    if (!this.isAtEnd) throw malformed("bytes follow the packet's last field");
  }

  private pass(fieldEnd: number): number {
    const size = fieldEnd - this.at - 2;
    this.at = fieldEnd;
    return size;
  }

  /** REQUIRES: a checked string pair at `at`. */
  private pair(at: number): readonly [string, string] {
    const nameLength = readUint16(this.bytes, at);
    const valueAt = at + 2 + nameLength;
    return [textOf(this.bytes, at + 2, nameLength), textOf(this.bytes, valueAt + 2, readUint16(this.bytes, valueAt))];
  }
}

/** REQUIRES: checked UTF-8. A BOM stays [MQTT-1.5.4-3]. */
function textOf(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString("utf8");
}
