// Loads a FHIR server over HTTP, some requests at a time, and prints what it took.
//   node load.mjs write <base url> <resources.ndjson>
//     PUT each that has an id, POST the others: seconds
//   node load.mjs read <base url> <path> <seconds>
//     GET one resource again and again: requests a second
//   node load.mjs search <base url> <queries.txt>
//     GET each query, one after the other: milliseconds each
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';

const AT_ONCE = 8; // as hapi-reconcile-bot
const [action, base, what, seconds] = process.argv.slice(2);
const { MEDPLUM_CLIENT_ID: id, MEDPLUM_CLIENT_SECRET: secret } = process.env;
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
const headers = {
  'content-type': 'application/fhir+json',
  ...(id && { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` }),
};

/**
 * Medplum leaves the body out of every answer, also to a search, where it is asked for a minimal
 * one.
 */
function headersOf(method) {
  return method === 'GET' ? headers : { ...headers, prefer: 'return=minimal' };
}

function send(method, path, body) {
  return new Promise((resolve, reject) => {
    const sent = request(
      `${base}/${path}`,
      { method, agent, headers: headersOf(method) },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part) => (text += part));
        answer.on('end', () =>
          answer.statusCode < 300
            ? resolve(text)
            : reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`)),
        );
      },
    );
    sent.on('error', reject).end(body);
  });
}

/** Works on what `next` gives until it gives nothing. */
async function inParallel(next) {
  const worker = async () => {
    for (let work = next(); work; work = next()) await work();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const lines = action === 'read' ? [] : readFileSync(what, 'utf8').trim().split('\n');
const start = performance.now();
if (action === 'write') {
  await inParallel(() => {
    const line = lines.pop();
    const { resourceType, id } = line ? JSON.parse(line) : {};
    return (
      line &&
      (() => (id ? send('PUT', `${resourceType}/${id}`, line) : send('POST', resourceType, line)))
    );
  });
  console.log(JSON.stringify((performance.now() - start) / 1000));
} else if (action === 'read') {
  let requests = 0;
  const end = start + Number(seconds) * 1000;
  await inParallel(
    () => performance.now() < end && (() => send('GET', what).then(() => (requests += 1))),
  );
  console.log(JSON.stringify((1000 * requests) / (performance.now() - start)));
} else {
  const times = [];
  for (const query of lines) {
    const before = performance.now();
    const { entry = [] } = JSON.parse(await send('GET', query));
    if (entry.length !== 1) {
      throw new Error(`${query} found ${entry.length}`);
    }
    times.push(performance.now() - before);
  }
  console.log(JSON.stringify(times.sort((a, b) => a - b)[times.length >> 1]));
}
agent.destroy();
