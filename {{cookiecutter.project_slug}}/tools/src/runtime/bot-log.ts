// What a bot logs in one run. The end is kept: a bot that logs without end must not fill the
// memory.
import type { SandboxError } from './sandbox-types.ts';

/** Characters that are kept; an AuditEvent holds the last 10,240. */
const LOG_KEPT = 100_000;

export class BotLog {
  readonly lines: string[] = [];
  readonly #thrownLines: string[] = [];
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

  /** Adds what the runtime itself logs about the error that ended the run. */
  pushThrown(line: string): void {
    this.push(line);
    this.#thrownLines.push(line);
  }

  /** What the runtime added at the end about the error; empty if it added nothing. */
  get thrownText(): string {
    return this.#thrownLines.join('\n');
  }

  /** @returns the lines; the first says so where earlier ones are not kept */
  toLines(): string[] {
    if (this.#dropped === 0) {
      return this.lines;
    }
    return [`(${this.#dropped} characters before this are not kept here)`, ...this.lines];
  }
}

/**
 * @param log - of a run, as one text
 * @param error - that ended the run
 * @returns what the bot itself logged, without what the runtime added about the error
 */
export function logOfBot(log: string, { logged = '' }: SandboxError): string {
  return log.endsWith(logged) ? log.slice(0, log.length - logged.length).trimEnd() : log;
}
