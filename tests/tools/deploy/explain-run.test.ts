// What `npm run logs` says about a failed run, from its log alone.
import { expect, it } from 'vitest';
import { explainRun } from '../../tools/src/deploy/explain-run.ts';
import type { BotSettings } from '../../tools/src/runtime/explain-failure.ts';

const BOT: BotSettings = { name: 'task-bot', runtime: 'vmcontext', timeout: 10 };
const POLICY = { kind: 'own', resources: [{ resourceType: 'Patient' }] } as unknown as NonNullable<
  BotSettings['accessPolicy']
>;
const outcome = (code: string, text: string): string =>
  JSON.stringify(
    { outcome: { resourceType: 'OperationOutcome', issue: [{ code, details: { text } }] } },
    undefined,
    2,
  );

it.each([
  [
    'a global that vmcontext lacks',
    'Unhandled error: Buffer is not defined\nReferenceError: Buffer is not defined\n' +
      '    at handler (evalmachine.<anonymous>:9:3)\nError Buffer is not defined',
    'ReferenceError: Buffer is not defined',
    /^vmcontext has no Buffer: /,
  ],
  [
    'a package that the runtime lacks',
    "Unhandled error: Cannot find module 'zod'\nError: Cannot find module 'zod'\n    at x",
    "Error: Cannot find module 'zod'",
    /import it, so that it becomes part of the bundle$/,
  ],
  [
    'a package of the bot layer that is not installed here',
    "Unhandled error: Cannot find module 'pdfmake/build/x'\nError: Cannot find module 'pdfmake/build/x'",
    "Error: Cannot find module 'pdfmake/build/x'",
    /^pdfmake is not in the bundle, .* npm install --save-dev pdfmake$/,
  ],
  [
    'a request that its policy does not allow',
    `one line\nUnhandled error: ${outcome('forbidden', 'Forbidden')}\nError Forbidden`,
    'OperationOutcomeError: Forbidden',
    /^the accessPolicy of task-bot does not allow one of its requests; .* npm run bot -- task-bot --event <file> shows it$/,
  ],
  [
    'a request that Medplum refuses for another reason',
    `Unhandled error: ${outcome('invalid', 'Invalid date value')}\nError Invalid date value`,
    'OperationOutcomeError: Invalid date value',
    undefined,
  ],
  [
    'the end of its time on awslambda',
    '2026-11-30T08:00:00Z x Task timed out after 10.00 seconds',
    'Task timed out after 10.00 seconds',
    /^raise "timeout" of task-bot in medplum\.config\.json \(now 10\)/,
  ],
  [
    'the end of its time on vmcontext',
    'Error Script execution timed out after 10000ms',
    'Script execution timed out after 10000ms',
    /^raise "timeout" of task-bot/,
  ],
  ['an error without a line before it', 'first\nError not ready', 'Error: not ready', undefined],
])('%s', (_, log, summary, hint) => {
  const explained = explainRun(log, { ...BOT, accessPolicy: POLICY }, undefined);
  expect(explained?.summary).toBe(summary);
  if (hint) {
    expect(explained?.hint).toMatch(hint);
  } else {
    expect(explained?.hint).toBeUndefined();
  }
});

it('a package of the bot layer that a server lacks is not installed here', () => {
  const log = "Unhandled error: Cannot find module 'ssh2'\nError: Cannot find module 'ssh2'";
  const explained = explainRun(log, { ...BOT, environment: 'staging' }, undefined);
  expect(explained?.hint).toMatch(/^ssh2 is not in the bundle, .* the bot layer of this server$/);
});

it('the file with the secrets is the one of the environment', () => {
  const log =
    "Unhandled error: Cannot read properties of undefined (reading 'valueString')\n" +
    'TypeError: x';
  const explained = explainRun(log, { ...BOT, environment: 'staging' }, undefined);
  expect(explained?.hint).toMatch(/its value into \.env\.staging\.secrets$/);
});

it.each(['', 'a log without an error', 'Unhandled'])('nothing is said about "%s"', (log) => {
  expect(explainRun(log, BOT, undefined)).toBeUndefined();
});
