// How soon the sync works again after a burst of patients has spent Medplum's quota. Medplum up to
// 5.1.27 starts its block of a minute again with each request during the block: bots that
// go on asking keep the whole project locked out. Prints how long it took from the first refusal to
// the next patient that arrived, in seconds, and how many requests Medplum refused.
//   node quota.mjs <project> <patients> <workers> <points of the quota>
import { setTimeout } from 'node:timers/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [project = '.', patients = '300', workers = '20', points = '1000'] = process.argv.slice(2);

/** @param {string} path - below the project */
const load = (path) => import(pathToFileURL(join(resolve(project), path)).href);

const { memorySource } = await load('tests/sync/memory-source.ts');
const { handler } = await load('src/bots/hapi-sync-bot.ts');
const { startFhirServer } = await load('tools/src/fhir-server/server.ts');
console.log = () => undefined; // a line for each run

const MINUTE_MS = 60_000;
const source = memorySource();
const target = await startFhirServer();
const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: target.baseUrl } };
let left = Number(points);
let blockedUntil = 0;
let firstRefusal = 0;
let refused = 0;

source.before = (request) => {
  left -= request.includes('?') ? 20 : 1; // a search, or a read
  const now = Date.now();
  if (left < 0 && (blockedUntil === 0 || now < blockedUntil)) {
    blockedUntil = now + MINUTE_MS;
    firstRefusal ||= now;
    refused++;
    const diagnostics = JSON.stringify({ _remainingPoints: 0, _msBeforeNext: MINUTE_MS });
    const issue = [{ severity: 'error', code: 'throttled', diagnostics }];
    throw Object.assign(new Error('Too many requests'), {
      outcome: { resourceType: 'OperationOutcome', id: 'too-many-requests', issue },
    });
  }
  if (left < 0) {
    left = Number(points);
    blockedUntil = 0;
  }
};

const queue = Array.from({ length: Number(patients) }, (_, index) =>
  source.save({ resourceType: 'Patient', id: `p${index}` }),
);
let arrived = 0;
let failed = 0;

async function work() {
  for (let event = queue.shift(); event; event = queue.shift()) {
    await handler(source.medplum, { ...event, secrets }).then(
      () => arrived++,
      () => failed++,
    );
  }
}

await Promise.all(Array.from({ length: Number(workers) }, work));
await setTimeout(Math.max(0, blockedUntil - Date.now()));
await handler(source.medplum, { ...source.save({ resourceType: 'Patient', id: 'next' }), secrets });
const seconds = (Date.now() - firstRefusal) / 1000;
process.stdout.write(JSON.stringify({ seconds, arrived, failed, refused }));
await target.stop();
