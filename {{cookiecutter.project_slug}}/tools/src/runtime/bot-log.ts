// What a bot logs in one run. The end is kept: a bot that logs without end must not fill the
// memory.

/** Characters that are kept; an AuditEvent holds the last 10,240. */
export const LOG_KEPT = 100_000;

export class BotLog {
  readonly lines: string[] = [];
  #length = 0;
  #dropped = 0;

  push(line: string): void {
    const kept = line.slice(-LOG_KEPT);
    this.#dropped += line.length - kept.length;
    this.lines.push(kept);
    this.#length += kept.length;
    while (this.#length > LOG_KEPT && this.lines.length > 1) {
      const oldest = this.lines.shift()!;
      this.#length -= oldest.length;
      this.#dropped += oldest.length;
    }
  }

  /** @returns the lines; the first says so where earlier ones are not kept */
  toLines(): string[] {
    if (this.#dropped === 0) {
      return this.lines;
    }
    return [`(${this.#dropped} characters before this are not kept here)`, ...this.lines];
  }
}
