// The runtime `awslambda`: a CommonJS module with Node's globals. The wrapping follows Medplum
// server 5.1.26 [packages/server/src/cloud/aws/deploy.ts].
import * as core from '@medplum/core';
import { Console } from 'node:console';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { compileFunction, constants } from 'node:vm';
import { requireFromBotLayer } from './bot-layer.ts';
import type { BotLog } from './bot-log.ts';
import { LAMBDA_FILE } from './bundle-place.ts';
import { shiftDate } from './clock.ts';
import type { BotEvent, SandboxOptions } from './sandbox-types.ts';

/** Node's loader for import() is given only to bundles that may call it: it prints a warning. */
const IMPORT_CALL = /\bimport\s*\(/;

type Handler = (medplum: unknown, event: unknown) => unknown;

/**
 * Loads a bundle as a module and calls its handler.
 *
 * @param log - receives what the bot logs
 * @returns what the handler returned
 * @throws what the bundle throws
 */
export async function runOnAwsLambda(
  code: string,
  options: SandboxOptions,
  log: BotLog,
): Promise<unknown> {
  const { handler } = loadModule(code, options, log);
  // The event travels as JSON, and without the stream.
  const { responseStream: _, ...sent } = options.event;
  const event = JSON.parse(JSON.stringify(sent)) as BotEvent;
  const isHl7 = event.contentType === core.ContentType.HL7_V2;
  try {
    const input = isHl7 && event.input ? core.Hl7Message.parse(event.input as string) : event.input;
    const { bot, requester, contentType, secrets, traceId, headers } = event;
    const result = await (handler as Handler)(options.medplum, {
      bot,
      requester,
      input,
      contentType,
      secrets,
      traceId,
      headers,
    });
    return isHl7 && result ? String(result) : result;
  } catch (thrown) {
    if (!isOutcome(thrown)) {
      log.pushThrown(`Unhandled error: ${textOf(thrown)}`);
    }
    throw thrown;
  }
}

function loadModule(
  code: string,
  { filename = join(process.cwd(), LAMBDA_FILE), clockOffset = 0 }: SandboxOptions,
  log: BotLog,
): { handler?: Handler } {
  const module = { exports: {} as { handler?: Handler } };
  const scope = {
    exports: module.exports,
    // One copy of the client library, as on Lambda: there `instanceof OperationOutcomeError` works.
    require: requireFromBotLayer('awslambda', { '@medplum/core': core }),
    module,
    __filename: filename,
    __dirname: process.cwd(),
    console: consoleThatKeeps(log),
    Date: clockOffset === 0 ? Date : shiftDate(Date, clockOffset),
  };
  const run = compileFunction(code, Object.keys(scope), {
    filename,
    ...(IMPORT_CALL.test(code) && {
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    }),
  }) as (...values: unknown[]) => void;
  run.call(module.exports, ...Object.values(scope));
  return module.exports;
}

function consoleThatKeeps(log: BotLog): Console {
  const stream = new Writable({
    write(chunk, _encoding, done) {
      log.push(String(chunk).replace(/\n$/, ''));
      done();
    },
  });
  return new Console({ stdout: stream, stderr: stream, colorMode: false });
}

function isOutcome(thrown: unknown): boolean {
  return thrown instanceof core.OperationOutcomeError || core.isOperationOutcome(thrown);
}

function textOf(thrown: unknown): string {
  return thrown instanceof Error
    ? `${thrown.message}\n${thrown.stack}`
    : JSON.stringify(thrown, undefined, 2);
}
