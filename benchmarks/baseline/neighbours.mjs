// What the sync bot costs its neighbours while its target refuses connections: 150 patients come in
// at once, each starts the sync bot and an unrelated bot, and 20 workers run them in order, as on a
// Medplum server. Prints the median delay of the unrelated bot, in seconds.
//   node neighbours.mjs <project> <patients> <workers>
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [project = '.', patients = '150', workers = '20'] = process.argv.slice(2);

/** @param {string} path - below the project */
const load = (path) => import(pathToFileURL(join(resolve(project), path)).href);

const { memorySource } = await load('tests/sync/memory-source.ts');
const { handler } = await load('src/bots/hapi-sync-bot.ts');
console.log = () => undefined; // a line for each run that fails

/** An address where nothing listens. */
async function closedPort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

const source = memorySource();
const address = `http://127.0.0.1:${await closedPort()}/fhir`;
const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: address } };
const delays = [];
const began = performance.now();
const queue = Array.from({ length: Number(patients) }, (_, index) => {
  const event = source.save({ resourceType: 'Patient', id: `p${index}` });
  return [
    () => handler(source.medplum, { ...event, secrets }).catch(() => undefined),
    async () => void delays.push((performance.now() - began) / 1000),
  ];
}).flat();

async function work() {
  for (let job = queue.shift(); job; job = queue.shift()) {
    await job();
  }
}

await Promise.all(Array.from({ length: Number(workers) }, work));
delays.sort((a, b) => a - b);
const median = delays[Math.floor(delays.length / 2)];
process.stdout.write(JSON.stringify({ median, longest: delays.at(-1) }));
