// npm run resync on deployed bots: what it repairs, what it counts, and the list of what failed
// last.
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import type { Patient } from '@medplum/fhirtypes';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LOCAL } from '../../tools/src/medplum/local-project.ts';
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';
import type { FhirServer } from '../../tools/src/fhir-server/server.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';
import type { MedplumServer } from '../../tools/src/medplum/server.ts';
import { answerHeaders, forwardRequest, readBody } from '../forward-request.ts';

interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

let external: FhirServer;
let medplum: MedplumServer;
/** Whether the proxy refuses everything with 403. */
let refusing = false;

const proxy = createServer((request, response) => {
  void answer(request, response);
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readBody(request);
  if (refusing) {
    response.writeHead(403).end('{"issue": [{"code": "forbidden", "diagnostics": "Lovelace"}]}');
    return;
  }
  const passed = await forwardRequest(request, body, external.baseUrl + request.url);
  response.writeHead(passed.status, answerHeaders(passed)).end(await passed.text());
}

async function node(...line: string[]): Promise<CommandResult> {
  const env = {
    ...process.env,
    NO_COLOR: '1',
    MEDPLUM_BASE_URL: medplum.baseUrl,
    MEDPLUM_PROJECT_ID: LOCAL.projectId,
    MEDPLUM_CLIENT_ID: LOCAL.clientId,
    MEDPLUM_CLIENT_SECRET: LOCAL.clientSecret,
  };
  return promisify(execFile)(process.execPath, line, { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: CommandResult) => error,
  );
}

const resync = (...args: string[]): Promise<CommandResult> =>
  node('tools/bin/medplum-bots.cjs', 'resync', ...args);

async function save(patient: Partial<Patient>): Promise<string> {
  const credentials = Buffer.from(`${LOCAL.clientId}:${LOCAL.clientSecret}`).toString('base64');
  const authorization = `Basic ${credentials}`;
  const answer = await fetch(`${medplum.baseUrl}fhir/R4/Patient`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/fhir+json' },
    body: JSON.stringify({ resourceType: 'Patient', name: [{ family: 'Lovelace' }], ...patient }),
  });
  expect(answer.ok).toBe(true);
  return ((await answer.json()) as { id: string }).id;
}

async function genderThere(id: string): Promise<string | undefined> {
  const answer = await fetch(`${external.baseUrl}/Patient/${id}`);
  return answer.ok ? ((await answer.json()) as Patient).gender : undefined;
}

beforeAll(async () => {
  external = await startFhirServer();
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  // No schedules: hapi-reconcile-bot would repair what a test has just broken.
  medplum = await startMedplumServer({
    secrets: { HAPI_BASE_URL: address },
    runSchedules: false,
  });
  expect(await node('esbuild-script.mjs')).toMatchObject({ code: 0 });
  expect(await node('scripts/setup-bots-and-subscriptions.ts')).toMatchObject({ code: 0 });
});
afterAll(async () => {
  await medplum.stop();
  await external.stop();
  proxy.closeAllConnections();
  proxy.close();
});

test('a failure is listed once, with its last reason, and repaired by hand', async () => {
  expect(await resync('--failed')).toMatchObject({ code: 0, stdout: 'Nothing failed.\n' });
  refusing = true;
  const id = await save({ gender: 'female' });
  const reason = new RegExp(`Patient/${id} +denied HTTP 403 forbidden`);
  await expect
    .poll(async () => (await resync('--failed')).stdout, { timeout: 30_000 })
    .toMatch(reason);
  expect(await resync(`Patient/${id}`)).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('failed'),
  });
  const { stdout } = await resync('--failed'); // now it failed twice
  expect(stdout.split('\n').filter((line) => line.includes(id))).toHaveLength(1);
  expect(stdout).not.toContain('Lovelace');
  refusing = false;
  const repaired = await resync(`Patient/${id}`);
  expect(repaired).toMatchObject({ code: 0, stdout: `created  Patient/${id}\n` });
  expect(await genderThere(id)).toBe('female');
});

test('a dry run counts differences and changes nothing; a real one leaves none', async () => {
  const id = await save({ gender: 'male' });
  await expect.poll(() => genderThere(id), { timeout: 30_000 }).toBe('male');
  const headers = { 'content-type': 'application/fhir+json' };
  const there = (await (await fetch(`${external.baseUrl}/Patient/${id}`)).json()) as Patient;
  const body = JSON.stringify({ ...there, gender: 'other' });
  await fetch(`${external.baseUrl}/Patient/${id}`, { method: 'PUT', headers, body });
  const dry = await resync('--full', '--dry-run');
  expect(dry).toMatchObject({ code: 0, stdout: expect.stringMatching(/differing +1\n/) });
  expect(await genderThere(id)).toBe('other');
  expect(await resync('--full')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/differing +1\n/),
  });
  expect(await genderThere(id)).toBe('male');
  expect((await resync('--full', '--dry-run')).stdout).toMatch(/differing +0\n/);
});

test('sync status: the last complete runs, and failures without patient data', async () => {
  const status = (...args: string[]): Promise<CommandResult> =>
    node('tools/bin/medplum-bots.cjs', 'sync', 'status', ...args);
  expect(await resync('--full')).toMatchObject({ code: 0 });
  expect(await status()).toMatchObject({ code: 0 });
  expect((await status()).stdout).toMatch(/full +\d{4}-\d\d-\d\dT.* +\d+ +0 +0\n/);
  expect((await status()).stdout).toContain('Nothing waits to be synced.');
  const id = await save({ gender: 'robot' as never });
  const full = await resync('--full');
  expect(full, 'the table is shown also where something failed').toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/checked +\d+\n[^]*refused +1\n/),
  });
  const { code, stdout } = await status();
  expect({ code, stdout }).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(new RegExp(`Patient/${id} +refused +\\d{4}-`)),
  });
  expect(stdout).not.toContain('Lovelace');
  const [numbers] = JSON.parse((await status('--json')).stdout) as Record<string, unknown>[];
  expect(numbers).toMatchObject({
    failures: { refused: 1 },
    oldestFailure: expect.stringMatching(/^\d{4}-/),
  });
});

test.each([[[]], [['Patient']], [['--failed', '--full']], [['Patient/1', '--full']]])(
  'says how it is used when it is called with %j',
  async (args) => {
    expect(await resync(...args)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('npm run resync -- '),
    });
  },
);

test('doctor --target checks what the sync needs, and leaves nothing on the target', async () => {
  const doctor = (): Promise<CommandResult> =>
    node('tools/bin/medplum-bots.cjs', 'doctor', '--target');
  const { stdout } = await doctor();
  const checks = stdout.split('\n').filter((line) => line.includes('the external server'));
  expect(checks).toHaveLength(9);
  expect(checks.filter((line) => !line.startsWith('✓'))).toEqual([]);
  refusing = true;
  expect(await doctor()).toMatchObject({
    code: 1,
    stdout: expect.stringContaining('so it cannot be a target'),
  });
  refusing = false;
  const left = (await (await fetch(`${external.baseUrl}/Basic`)).json()) as { entry?: unknown[] };
  expect(left.entry ?? []).toEqual([]);
});
