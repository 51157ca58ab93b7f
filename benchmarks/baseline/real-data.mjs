// Syncs the resources of public example packages to a HAPI server, and says what arrived, what HAPI
// refused, and what a full comparison finds afterwards; then deletes all of them, restores them,
// and deletes them again.
//   node real-data.mjs <project> <address of HAPI> <how many at most> <folder> …
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [project = '.', hapi = '', limit = '', ...folders] = process.argv.slice(2);

/** @param {string} path - below the project */
const load = (path) => import(pathToFileURL(join(resolve(project), path)).href);

const { memorySource } = await load('tests/sync/memory-source.ts');
const { connectExternalServer } = await load('src/shared/external-server.ts');
const { reconcile } = await load('src/shared/sync/reconcile.ts');
const { TYPES, inOrder } = await load('src/shared/sync/types.ts');

/** Every resource of a supported type, from single files and from Bundles, once. */
function readResources() {
  const found = new Map();
  for (const folder of folders) {
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
      const content = JSON.parse(readFileSync(join(folder, file), 'utf8'));
      const entries =
        content.resourceType === 'Bundle' ? (content.entry ?? []) : [{ resource: content }];
      const names = entries.map(({ fullUrl, resource }) => [
        fullUrl,
        `${resource?.resourceType}/${resource?.id}`,
      ]);
      const byUrl = new Map(names.filter(([url]) => url?.startsWith('urn:uuid:')));
      for (const { resource } of entries) {
        // Ids of digits alone are HAPI's own; a real Medplum gives UUIDs.
        if (
          resource?.id &&
          Object.hasOwn(TYPES, resource.resourceType) &&
          !/^\d+$/.test(resource.id)
        ) {
          found.set(`${resource.resourceType}/${resource.id}`, localReferences(resource, byUrl));
        }
      }
    }
  }
  return new Map([...found].slice(0, Number(limit)));
}

/** References such as `urn:uuid:…` stand for entries of the same Bundle. */
function localReferences(value, byUrl) {
  return JSON.parse(JSON.stringify(value), (name, member) =>
    name === 'reference' ? (byUrl.get(member) ?? member) : member,
  );
}

const resources = readResources();
const types = inOrder([
  ...new Set([...resources.values()].map(({ resourceType }) => resourceType)),
]);
const source = memorySource();
const authority = `urn:benchmark:${Date.now()}`;
const config = { types, onDelete: 'delete', retryForMs: 1_200, authority };
console.log = () => undefined; // a line for each resource that is refused

async function run(mode, dryRun = false) {
  const started = performance.now();
  let result;
  const counts = {};
  do {
    const deadline = Date.now() + 600_000;
    const secrets = { HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: hapi } };
    const context = {
      medplum: source.medplum,
      target: connectExternalServer(secrets, deadline),
      config,
      deadline,
    };
    result = await reconcile(context, { bot: 'Bot/benchmark', mode, dryRun });
    for (const [name, count] of Object.entries(result.counts)) {
      counts[name] = (counts[name] ?? 0) + count;
    }
  } while (!result.complete);
  // of all runs
  Object.assign(counts, { failed: result.counts.failed, postponed: result.counts.postponed });
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  process.stderr.write(
    `${mode}${dryRun ? ', counting only' : ''}: ${seconds} s ${JSON.stringify(counts)}\n`,
  );
  return { seconds, counts, failures: result.failures };
}

/**
 * Everything that the resource says, apart from what the rules leave out: as a sorted list of
 * texts.
 */
function valuesOf(value, path = '') {
  if (Array.isArray(value)) {
    return value.flatMap((item) => valuesOf(item, path));
  }
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value).flatMap(([name, member]) => {
      const isLeftOut =
        (path === '' && ['meta', 'text', 'identifier'].includes(name)) ||
        [
          'reference',
          'div',
          'contained',
          'type',
          'instantiatesCanonical',
          'questionnaire',
          'derivedFrom',
          'url',
        ].includes(name);
      return isLeftOut ? [] : valuesOf(member, `${path}.${name}`);
    });
  }
  const text = path.endsWith('.data') ? String(value).replace(/\s+/g, '') : value; // base64
  return value === null || path.endsWith('valueCanonical') ? [] : [`${path}=${text}`];
}

/** What is not on HAPI as it is in the package. */
async function differences(expected) {
  const missing = [];
  const changed = [];
  for (const [path, resource] of expected) {
    const answer = await fetch(`${hapi}/${path}`);
    if (!answer.ok) {
      await answer.text();
      missing.push(path);
      continue;
    }
    const there = valuesOf(await answer.json())
      .filter((text) => !text.includes('.identifier.'))
      .toSorted();
    const here = valuesOf(resource)
      .filter((text) => !text.includes('.identifier.'))
      .toSorted();
    if (JSON.stringify(there) !== JSON.stringify(here)) {
      const lost = here.filter((text) => !there.includes(text));
      const added = there.filter((text) => !here.includes(text));
      changed.push({ path, lost: lost.slice(0, 3), added: added.slice(0, 3) });
    }
  }
  return { missing, changed };
}

function saveAll() {
  for (const resource of resources.values()) {
    source.save(resource);
  }
}

process.stderr.write(`${resources.size} resources of ${types.length} types\n`);
const report = { resources: resources.size, types: types.length };
saveAll();
report.first = await run('full');
const { missing, changed } = await differences(resources);
report.arrived = resources.size - missing.length;
report.missing = missing;
report.changed = changed;
report.again = await run('full');
report.dry = await run('full', true);
for (const path of resources.keys()) {
  source.remove(...path.split('/'));
}
await run('full');
report.deletion = await run('full'); // the first run may delete something before what refers to it
report.left = (await differences(resources)).missing.length;
saveAll();
report.restored = await run('full');
report.afterRestore = await run('full', true);
report.restoredChanged = (await differences(resources)).changed;
for (const path of resources.keys()) {
  source.remove(...path.split('/'));
}
await run('full');
report.deletedAgain = await run('full');
report.leftAgain = (await differences(resources)).missing.length;
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
