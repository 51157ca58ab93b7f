// What the terminal of `npm run dev` shows of each run.
import type { Run } from '../medplum/bot-runs.ts';
import type { BundleMaps } from '../runtime/bundle-maps.ts';
import { explainFailure } from '../runtime/explain-failure.ts';
import { findSettings } from '../runtime/bot-settings.ts';
import { mapStack } from '../runtime/source-maps.ts';
import { bold, dim, green, red } from '../terminal/output.ts';
import { failureLines } from './show-failure.ts';

/** What the runtimes add to the log of a bot that throws. The explanation says it better. */
const ADDED_BY_RUNTIME = /^(Unhandled error: |Error )/;

/**
 * @param run - that has ended
 * @param maps - of the code that ran
 * @returns a line for the run, then what it logged and, where it failed, why
 */
export function runLines(run: Run, maps: BundleMaps): string[] {
  const { bot, milliseconds, success, code, log, error } = run;
  const outcome = success ? green('ran') : red('threw');
  const head = `${outcome} ${bold(bot.name ?? '')} ${causeOf(run)} ${dim(`${milliseconds} ms`)}`;
  const map = maps.find(code);
  const readable = map ? mapStack(log, map) : log;
  const details = error ? linesBefore(ADDED_BY_RUNTIME, readable) : readable.split('\n');
  if (error) {
    const settings = findSettings(bot.name);
    const explanation = explainFailure({ error, sent: run.sent, bot: settings, map });
    details.push(...failureLines(explanation));
    details.push(...ownFrames(map ? mapStack(error.stack, map) : error.stack));
  }
  return [head, ...details.filter(Boolean).map((line) => `  ${line}`)];
}

/** create, update, delete; or how else the bot came to run: cron, execute, … */
export function causeOf({ cause, request: { headers } }: Run): string {
  const interaction = headers?.['X-Medplum-Interaction'];
  return interaction === undefined ? cause : String(interaction);
}

/** @returns the lines of a text before the first one that fits */
function linesBefore(pattern: RegExp, text: string): string[] {
  const lines = text.split('\n');
  const end = lines.findIndex((line) => pattern.test(line));
  return end < 0 ? lines : lines.slice(0, end);
}

/** The lines of a stack that are in the repository's own sources. */
function ownFrames(stack: string): string[] {
  return stack
    .split('\n')
    .filter((line) => /^ {4}at (.*\()?(src|scripts)\/[^\s():]+:\d+:\d+/.test(line));
}
