// Runs a bundle in the vmcontext sandbox of a generated repository, again as long as it says that
// it is not complete.
//   node [--expose-gc] run-bot.mjs <generated repository> <bundle> <FHIR server> <event as JSON>
// The credentials are in MEDPLUM_…
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [project, bundle, fhir, given] = process.argv.slice(2);
const { MedplumClient } = createRequire(join(project, 'package.json'))('@medplum/core');
const { runInSandbox } = await import(
  pathToFileURL(join(project, 'tools', 'src', 'runtime', 'sandbox.ts'))
);

const medplum = new MedplumClient({ baseUrl: process.env.MEDPLUM_BASE_URL });
medplum.setBasicAuth(process.env.MEDPLUM_CLIENT_ID, process.env.MEDPLUM_CLIENT_SECRET);
const event = {
  bot: { reference: 'Bot/b0000000-0000-4000-8000-000000000001' },
  contentType: 'application/fhir+json',
  secrets: { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: fhir } },
  ...JSON.parse(given),
};
const code = readFileSync(bundle, 'utf8');
let done;
// with --expose-gc: the most that was in use at a time, what is garbage not counted
let megabytes = 0;
const watch =
  globalThis.gc &&
  setInterval(() => {
    globalThis.gc();
    megabytes = Math.max(megabytes, process.memoryUsage().heapUsed / 1e6);
  }, 100);
do {
  done = await runInSandbox(code, { runtime: 'vmcontext', medplum, event });
  if (done.error) {
    throw new Error(`${done.error.stack}\n${done.log.join('')}`);
  }
} while (done.result?.complete === false);
clearInterval(watch);
console.log(JSON.stringify({ ...done.result, megabytes }));
