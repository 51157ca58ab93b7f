// The local servers of a generated repository on free ports, slowed down and counted; they end with standard input.
//   node servers.mjs <generated repository> <milliseconds before each request to Medplum>
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const [project, delay] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(project, 'tools', 'local', file)));
const { startFhirServer } = await load('fhir-server.ts');
const { startMedplumServer } = await load('medplum-server.ts');

let requests = 0;
const extend = (app) => {
  app.get('/_requests', (c) => c.json({ requests }));
  app.use(async (_c, next) => {
    requests += 1;
    if (Number(delay) > 0) await setTimeout(Number(delay));
    await next();
  });
};
const fhir = await startFhirServer();
const medplum = await startMedplumServer({ secrets: { HAPI_BASE_URL: fhir.baseUrl }, extend });
console.log(JSON.stringify({ medplum: medplum.baseUrl, fhir: fhir.baseUrl }));
process.stdin.resume().on('end', () => process.exit(0));
