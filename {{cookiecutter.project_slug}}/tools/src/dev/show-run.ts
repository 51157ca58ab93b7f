// What the terminal of `npm run dev` shows of each run.
import type { Run } from '../medplum/bot-runs.ts';
import { logOfBot } from '../runtime/bot-log.ts';
import type { BundleMaps } from '../runtime/bundle-maps.ts';
import { explainFailure } from '../runtime/explain-failure.ts';
import { findSettings } from '../runtime/bot-settings.ts';
import { mapStack } from '../runtime/source-maps.ts';
import { bold, dim, green, red } from '../terminal/output.ts';
import { failureLines } from './show-failure.ts';

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
  const logged = error ? logOfBot(log, error) : log;
  const details = (map ? mapStack(logged, map) : logged).split('\n');
  if (error) {
    const settings = findSettings(bot.name);
    const explanation = explainFailure({ error, sent: run.sent, bot: settings, map });
    details.push(...failureLines(explanation));
    details.push(...ownFrames(map ? mapStack(error.stack, map) : error.stack));
  }
  return [head, ...details.filter(Boolean).map((line) => `  ${line}`)];
}

/** create, update, delete; or how else the bot came to run: cron, execute, … */
function causeOf({ cause, request: { headers } }: Run): string {
  const interaction = headers?.['X-Medplum-Interaction'];
  return interaction === undefined ? cause : String(interaction);
}

/** The lines of a stack that are in the repository's own sources. */
function ownFrames(stack: string): string[] {
  return stack
    .split('\n')
    .filter((line) => /^ {4}at (.*\()?(src|scripts)\/[^\s():]+:\d+:\d+/.test(line));
}
