// The keys of `npm run dev`.
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createKeys } from '../../tools/src/dev/dev-keys.ts';
import { describeKeys, listenToKeys } from '../../tools/src/dev/keys.ts';
import { BundleMaps } from '../../tools/src/runtime/bundle-maps.ts';
import { eventually, startTestServer } from '../medplum/support.ts';
import type { TestServer } from '../medplum/support.ts';

let medplum: TestServer;
let printed: string[];
let opened: string[];
let terminal: PassThrough;

beforeEach(async () => {
  medplum = await startTestServer();
  printed = [];
  opened = [];
  vi.spyOn(console, 'log').mockImplementation((text: string) => void printed.push(text));
  const input = new PassThrough();
  terminal = Object.assign(input, { isTTY: true, setRawMode: () => input });
  const keys = createKeys(medplum.server, new BundleMaps(), (address) => opened.push(address));
  listenToKeys(keys, terminal as unknown as NodeJS.ReadStream);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await medplum.server.stop();
});

/** Presses a key, and waits until something has come of it. */
async function press(key: string, hasHappened: () => boolean): Promise<void> {
  terminal.write(key);
  await eventually(
    async () => hasHappened(),
    (done) => done,
  );
  expect(hasHappened()).toBe(true);
}

const runs = () => medplum.server.runs.list();

test('r runs the last event again, with the code that the bot has now', async () => {
  await press('r', () => printed.some((text) => text.includes('Nothing has run yet.')));
  const bot = await medplum.bot('exports.handler = async (_, { input }) => ({ first: input.n });');
  await medplum.execute(bot, { n: 7 });
  const code = 'exports.handler = async (_, { input }) => ({ second: input.n });';
  await medplum.call('POST', `fhir/R4/Bot/${bot}/$deploy`, { code, filename: 'index.js' });
  await press('R', () => runs().length === 2 && runs()[0]?.state === 'succeeded');
  expect(runs().map(({ value }) => value)).toEqual([{ second: 7 }, { first: 7 }]);
});

test('f shows the failures, the latest last', async () => {
  const thrower = `exports.handler = async (_, { input }) => { throw new Error('no ' + input.n); };`;
  const bot = await medplum.bot(thrower, { name: 'thrower' });
  await medplum.execute(bot, { n: 1 });
  await medplum.execute(bot, { n: 2 });
  await medplum.execute(await medplum.bot('exports.handler = async () => true;'));
  await press('f', () => printed.some((text) => text.includes('2 failed.')));
  expect(printed.join('\n')).toMatch(/threw.*thrower[^]*no 1[^]*threw.*thrower[^]*no 2/);
});

test('o opens the page, c clears the screen, q ends the process', async () => {
  const clear = vi.spyOn(console, 'clear').mockImplementation(() => undefined);
  const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
  await press('o', () => opened.length > 0);
  expect(opened).toEqual([medplum.server.baseUrl]);
  await press('c', () => clear.mock.calls.length === 1);
  await press('q', () => exit.mock.calls.length === 1);
  expect(exit).toHaveBeenCalledWith(0);
});

test('Ctrl+C ends the process, and the line under the addresses names all keys', async () => {
  const kill = vi.spyOn(process, 'kill').mockImplementation(() => true);
  await press('\u0003', () => kill.mock.calls.length === 1);
  expect(kill).toHaveBeenCalledWith(process.pid, 'SIGINT');
  expect(describeKeys(createKeys(medplum.server, new BundleMaps()))).toContain(
    'o open the page · r run the last event again · f show failures · c clear the screen · q quit',
  );
});
