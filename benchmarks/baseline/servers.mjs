// The local servers of a generated repository on free ports, slowed down, their requests written
// down; they end with standard input. node servers.mjs <generated repository> <milliseconds before
// each request to Medplum>
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [project, delay] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(join(project, 'tools', 'src', file)));
const { startFhirServer } = await load('fhir-server/server.ts');
const { startMedplumServer } = await load('medplum/server.ts');

const requests = { medplum: [], fhir: [] };
const fhir = await startFhirServer();
const target = new URL(fhir.baseUrl);
const proxy = createServer((incoming, outgoing) => {
  const { method, url, headers } = incoming;
  requests.fhir.push(`${method} ${url}`);
  incoming.pipe(
    request({ host: target.hostname, port: target.port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    }),
  );
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const counted = `http://127.0.0.1:${proxy.address().port}${target.pathname}`;

const extend = (app) => {
  app.get('/_requests', (c) => c.json(requests));
  app.use(async (c, next) => {
    requests.medplum.push(`${c.req.method} ${c.req.url.slice(new URL(c.req.url).origin.length)}`);
    if (Number(delay) > 0) await setTimeout(Number(delay));
    await next();
  });
};
const medplum = await startMedplumServer({ secrets: { HAPI_BASE_URL: counted }, extend });
console.log(JSON.stringify({ medplum: medplum.baseUrl, fhir: counted, uncounted: fhir.baseUrl }));
process.stdin.resume().on('end', () => process.exit(0));
