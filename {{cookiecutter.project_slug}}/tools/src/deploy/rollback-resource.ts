// Puts an earlier version of a resource of resources/ back. It is one PATCH, so it cannot stop half
// way.
import { UserError } from '../terminal/user-error.ts';
import type { DesiredResource } from './desired-resources.ts';
import { commitSubject } from './git.ts';
import { readHistory } from './history.ts';
import { keyOf, resourceTag, tagOf } from './identity.ts';
import type { Version } from './rollback.ts';
import { search } from './search.ts';
import type { Server } from './server.ts';
import { differences } from './stored.ts';
import type { Fields, Stored } from './stored.ts';
import { patch } from './write.ts';

/** @throws UserError if the resource of this file is not deployed */
export async function findOwnResource(
  server: Server,
  system: string,
  { file, resourceType, query }: DesiredResource,
): Promise<Stored> {
  const { name: environment } = server.environment;
  const found = await search(server, `${resourceType}?${query}&_count=20`);
  const own = found.find(
    (resource) => tagOf(resource, resourceTag(system)) === keyOf(environment, file),
  );
  if (!own) {
    throw new UserError(`${file} is not deployed to ${environment}.`);
  }
  return own;
}

/** The versions that this repository wrote, newest first; two with the same content count once. */
export async function listResourceVersions(
  server: Server,
  system: string,
  resource: Stored,
  root: string,
): Promise<Version[]> {
  const history = await readHistory(server, `${resource.resourceType}/${resource.id}`);
  const versions = history.filter(
    (old, index) => Object.keys(contentChanges(history[index - 1], old)).length > 0 || index === 0,
  );
  return versions.map((old) => {
    const commit = tagOf(old, `${system}/commit`);
    return {
      version: old.meta?.versionId ?? '',
      stored: old,
      isCurrent: Object.keys(contentChanges(resource, old)).length === 0,
      commit,
      subject: commit && commitSubject(root, commit.replace('-dirty', '')),
      author: old.meta?.author?.display ?? old.meta?.author?.reference,
      time: old.meta?.lastUpdated ?? '',
      shared: [],
    };
  });
}

/** The members to write, so that a resource gets the content of another version. */
function contentChanges(current: Stored | undefined, wanted: Stored): Fields {
  const isContent = ([name]: [string, unknown]): boolean => name !== 'id' && name !== 'meta';
  const members = Object.entries(wanted).filter(isContent);
  const removed = Object.keys(current ?? {}).filter(
    (name) => !(name in wanted) && isContent([name, undefined]),
  );
  return differences(current, {
    ...Object.fromEntries(removed.map((name) => [name, undefined])),
    ...Object.fromEntries(members),
  });
}

/** Writes the content of an earlier version, and holds it. */
export async function putResourceBack(
  server: Server,
  system: string,
  resource: Stored,
  { version, stored }: Version,
  message: string | undefined,
): Promise<void> {
  const others = (resource.meta?.tag ?? []).filter((tag) => tag.system !== `${system}/held`);
  const held = { system: `${system}/held`, code: version, ...(message && { display: message }) };
  const content = contentChanges(resource, stored);
  await patch(server, resource, { ...content, 'meta.tag': [...others, held] });
}
