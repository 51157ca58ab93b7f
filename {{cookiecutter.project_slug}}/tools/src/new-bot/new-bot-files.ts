// What `new:bot` writes for one bot.

export interface NewBot {
  /** Its entry in medplum.config.json. */
  entry: Record<string, unknown>;
  /** Source, test and sample events, by path; not yet formatted. */
  files: Record<string, string>;
  /** What it is, in one sentence. */
  summary: string;
}
