// The memory of a client that can be killed at any moment: a file of lines, each written before anything that follows from it is sent. What a
// killed client has not written it has not said to anybody either, so its successor goes on from the file alone.
//
// Lines (words are parted by single spaces, topics have none):
//   K present              CONNACK came; present: 0 or 1, its session present
//   P id n qos retain topic   a message was given this packet id, then it is sent for the first time
//   R id                   its PUBREC came
//   A id                   its PUBACK or PUBCOMP came
//   S qos filter           SUBACK came with this QoS
//   M id qos publisher n publishedQos topic   a message came (with QoS 2: was taken, its packet id is held)
//   L id                   PUBREL came: the packet id is free
//   E text                 the gateway did what it must not do
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";

export class Notebook {
  private readonly fd: number;
  private lines = "";

  /** Opens the file, made if it is missing. @param take is given what stands in it, line by line */
  constructor(file: string, take: (words: readonly string[]) => void) {
    this.fd = openSync(file, "a+");
    const text = readFileSync(file);
    // A line that its writer could not finish is as good as not written.
    const end = text.lastIndexOf(10) + 1;
    if (end < text.length) ftruncateSync(this.fd, end);
    for (const words of linesOf(text.toString("utf8", 0, end))) take(words);
  }

  note(line: string): void {
    this.lines += `${line}\n`;
  }

  /** From here on what was noted survives its writer. */
  write(): void {
    if (this.lines === "") return;
    writeSync(this.fd, this.lines);
    this.lines = "";
  }

  close(): void {
    this.write();
    closeSync(this.fd);
  }
}

/** The words of each whole line of a notebook. */
export function* linesOf(text: string): Iterable<string[]> {
  for (let at = 0; ; ) {
    const end = text.indexOf("\n", at);
    if (end < 0) return;
    yield text.slice(at, end).split(" ");
    at = end + 1;
  }
}
