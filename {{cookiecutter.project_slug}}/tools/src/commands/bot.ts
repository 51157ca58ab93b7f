// `npm run bot -- <name> --event tests/events/<event>.json`: builds one bot and runs it on one
// event, as the deployed bot.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import inspector from 'node:inspector';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { BuildError } from '../bundling/bundle-bots.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import { failureLines } from '../dev/show-failure.ts';
import { withSourceLine } from '../dev/source-line.ts';
import { logOfBot } from '../runtime/bot-log.ts';
import { runBot } from '../runtime/bot-run.ts';
import type { BotJob, BotRunResult } from '../runtime/bot-run.ts';
import { settingsOf } from '../runtime/bot-settings.ts';
import { explainFailure } from '../runtime/explain-failure.ts';
import type { RecordedRequest } from '../runtime/recorded-requests.ts';
import { mapStack } from '../runtime/source-maps.ts';
import { WorkerPool } from '../runtime/worker-pool.ts';
import { bold, dim, red, table, yellow } from '../terminal/output.ts';
import { suggest } from '../terminal/suggest.ts';
import { UserError } from '../terminal/user-error.ts';
import { readEvent, readInput } from '../try-bot/event.ts';
import type { TriedEvent } from '../try-bot/event.ts';
import { medplumFor, recordedEvent } from '../try-bot/medplum.ts';
import type { TriedMedplum } from '../try-bot/medplum.ts';

interface BotOptions {
  event?: string;
  input?: string;
  contentType?: string;
  from?: string;
  watch?: boolean;
  inspectBrk?: boolean;
}

/** Seconds that a bot has while a debugger is attached. */
const DEBUGGING_SECONDS = 86_400;

export const command = new Command('bot')
  .description(
    'Build one bot and run it on one event, with the rights and limits of the deployed bot',
  )
  .argument('[name]', 'the name of the bot')
  .option(
    '--event <file>',
    'a sample event, a resource, or the input (.json, .hl7, .txt, .form, .csv)',
  )
  .option('--input <file>', 'the input, as the body of a request to $execute')
  .option('--content-type <type>', 'of --input (default: by the ending of the file)')
  .option('--from <run>', 'the event of a run on the local Medplum, by its id')
  .option('--watch', 'run again when a source or the event is saved')
  .option('--inspect-brk', 'wait for a debugger to attach')
  .addHelpText(
    'after',
    '\nExample: npm run bot -- hapi-sync-bot --event tests/events/patient-created.json',
  )
  .action(tryBot);

async function tryBot(name: string | undefined, options: BotOptions): Promise<void> {
  if (options.inspectBrk && !inspector.url()) {
    process.exitCode = await startWithDebugger();
    return;
  }
  const run = async (): Promise<boolean> => {
    const bot = findBot(loadConfig(undefined, 'local').bots, name);
    const event = await chooseEvent(options);
    return (await build(bot)) && runOnce(bot, event);
  };
  const succeeded = await run();
  process.exitCode = succeeded ? 0 : 1;
  if (options.watch) {
    const { watchSources } = await import('../dev/source-watcher.ts');
    const events = [options.event, options.input].filter((file) => file !== undefined);
    await watchSources(async () => {
      console.log(dim('\n—\n'));
      await run().catch((error: Error) => console.error(red(error.message)));
    }, events);
    console.log(dim('Watching src/, medplum.config.json and the event; end with Ctrl+C.'));
  }
}

/** Starts this command again in a process that waits for a debugger. */
function startWithDebugger(): Promise<number> {
  const [script = '', ...values] = process.argv.slice(1);
  const rest = values.filter((value) => value !== '--inspect-brk');
  const child = spawn(process.execPath, ['--inspect-brk', script, ...rest], { stdio: 'inherit' });
  return new Promise((done) => child.on('exit', (code) => done(code ?? 1)));
}

function findBot(bots: readonly BotConfig[], name: string | undefined): BotConfig {
  const names = bots.map((bot) => bot.name);
  const found = bots.find((bot) => bot.name === name);
  if (found) {
    return found;
  }
  const known = `Bots here: ${names.join(', ')}.`;
  if (!name) {
    throw new UserError(
      `Which bot? npm run bot -- <name> --event tests/events/<event>.json. ${known}`,
    );
  }
  throw new UserError(
    `There is no bot "${name}" in medplum.config.json.${suggest(name, names)} ${known}`,
  );
}

async function chooseEvent({ event, input, contentType, from }: BotOptions): Promise<TriedEvent> {
  const given = [event, input, from].filter((value) => value !== undefined);
  if (given.length > 1) {
    throw new UserError('Give one of --event, --input and --from.');
  }
  if (from !== undefined) {
    return recordedEvent(from);
  }
  return input === undefined ? readEvent(event) : readInput(input, contentType);
}

/** @returns whether this bot was built; errors of other bots do not matter here */
async function build(bot: BotConfig): Promise<boolean> {
  const { bundle } = (await import('../../../esbuild-script.mjs')) as {
    bundle(): Promise<unknown>;
  };
  try {
    await bundle();
  } catch (error) {
    if (!(error instanceof BuildError)) {
      throw error;
    }
    const own = error.findings.filter(
      ({ severity, bots }) => severity === 'error' && bots.includes(bot.name),
    );
    for (const finding of own) {
      console.error(withSourceLine(finding));
    }
    return own.length === 0;
  }
  return true;
}

/** @returns whether the run succeeded */
async function runOnce(bot: BotConfig, event: TriedEvent): Promise<boolean> {
  const medplum = await medplumFor(bot);
  try {
    for (const note of [medplum.note, event.note].filter((text) => text !== undefined)) {
      console.log(`${yellow('note')}  ${note}\n`);
    }
    const started = performance.now();
    const result = await runInProcess(createJob(bot, event, medplum));
    show(result, bot, Math.round(performance.now() - started));
    return result.error === undefined;
  } finally {
    await medplum.stop();
  }
}

function createJob(bot: BotConfig, event: TriedEvent, medplum: TriedMedplum): BotJob {
  const { runtime, timeout } = settingsOf(bot);
  if (runtime === 'fission') {
    throw new UserError(`${bot.name} runs on fission, which is not available locally.`);
  }
  const { note: _, ...sent } = event;
  return {
    code: readFileSync(bot.dist, 'utf8'),
    runtime,
    timeout,
    baseUrl: medplum.baseUrl,
    accessToken: medplum.accessToken,
    event: { ...sent, bot: medplum.bot, secrets: medplum.secrets } as BotJob['event'],
  };
}

/**
 * In a thread, as on the local server; in this one where a debugger is attached, which may stop for
 * long.
 */
async function runInProcess(job: BotJob): Promise<BotRunResult> {
  if (inspector.url()) {
    for (const name of Object.keys(process.env)) {
      delete process.env[name]; // a deployed bot does not have them
    }
    return runBot({
      ...job,
      timeout: DEBUGGING_SECONDS,
      filename: resolve(`dist/bots/${job.event.bot.display}.js`),
    });
  }
  const pool = new WorkerPool({ keep: 1 });
  try {
    return await pool.run(job);
  } finally {
    await pool.stop();
  }
}

function show({ log, requests, error, result }: BotRunResult, bot: BotConfig, time: number): void {
  const mapFile = `${bot.dist}.map`;
  const map = existsSync(mapFile) ? readFileSync(mapFile, 'utf8') : undefined;
  const readable = (text: string): string => (map === undefined ? text : mapStack(text, map));
  const logged = log.join('\n');
  const shown = error ? logOfBot(logged, error) : logged;
  console.log(`${bold('log')}\n${readable(shown) || dim('(nothing)')}\n`);
  if (requests.length > 0) {
    console.log(`${table(['request', 'where', 'status', 'ms'], requests.map(requestRow))}\n`);
  }
  if (error) {
    const settings = settingsOf(bot);
    const lines = failureLines(explainFailure({ error, sent: requests, bot: settings, map }));
    console.log(`${red('failed')}  ${lines.join('\n        ')}`);
    const stack = readable(error.stack).split('\n');
    const frames = stack.filter((line) => /^ {4}at /.test(line) && !/\/tools\/|node:/.test(line));
    if (frames.length > 0) {
      console.log(dim(frames.join('\n')));
    }
  } else {
    console.log(`${bold('result')}  ${JSON.stringify(result, null, 2)}`);
  }
  console.log(`${bold('time')}  ${time} ms`);
}

/** A request without what could tell of a patient: no id, no query, no body. */
function requestRow({
  method,
  url,
  status,
  failure,
  milliseconds,
}: RecordedRequest): (string | number)[] {
  const address = URL.parse(url);
  const path = address?.pathname ?? '';
  const [upToType = path] = /^.*?\/[A-Z][A-Za-z]+(?=\/|$)/.exec(path) ?? [];
  const answer = status === undefined ? (failure ?? 'no answer') : String(status);
  return [method, `${address?.origin ?? ''}${upToType}`, answer, milliseconds];
}
