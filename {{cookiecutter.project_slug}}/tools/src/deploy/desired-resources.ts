// Other FHIR resources kept as code: each JSON file in resources/ is one resource, checked before
// any request.
import type { Resource } from '@medplum/fhirtypes';
import { existsSync, globSync } from 'node:fs';
import { join, relative } from 'node:path';
import { RESOURCE_TYPES } from '../config/resource-types.ts';
import { readText } from '../config/text-file.ts';
import { UserError } from '../terminal/user-error.ts';
import { wrongMember } from './shapes.ts';
import type { Fields } from './stored.ts';

/** What medplum.config.json deploys, and what cannot be deployed as a file. */
const EXCLUDED: Record<string, string> = {
  Bot: 'write it into medplum.config.json',
  Subscription: 'write it into medplum.config.json',
  AccessPolicy: 'write it into medplum.config.json',
  ProjectMembership: 'medplum.config.json creates the memberships of bots',
  Cron: 'write it into medplum.config.json',
  Bundle: 'write one resource to a file',
  Binary: 'its content cannot be found again on the server',
  AuditEvent: 'Medplum writes it',
  Project: 'a super admin changes it',
  User: 'create it in the Medplum app',
  ClientApplication: 'create it in the Medplum app',
  Login: 'Medplum writes it',
};

/** Members that belong to the server. */
const SERVER_MEMBERS = ['id', 'meta'];

/** What a resource is found by: its `url`, else its first identifier. */
export type Identity = { url: string } | { system: string; value: string };

export interface DesiredResource {
  /** Its path in the repository, such as `resources/intake.json`. */
  file: string;
  resourceType: Resource['resourceType'];
  identity: Identity;
  /** The search that finds it. */
  query: string;
  /** Its members without id and meta. References to bots are by name: `Bot/hapi-sync-bot`. */
  fields: Fields;
  /** Profiles, security labels and tags of the file. */
  meta: { profile?: string[]; security?: unknown[]; tag?: { system?: string; code?: string }[] };
}

/**
 * @param root - the repository's folder
 * @param folder - of the resources; it need not exist
 * @throws UserError with one line for each file that cannot be deployed
 */
export function loadResources(root: string, folder: string): DesiredResource[] {
  const resources: DesiredResource[] = [];
  const errors: string[] = [];
  for (const file of resourceFiles(root, folder)) {
    try {
      resources.push(loadResource(root, file));
    } catch (error) {
      if (!(error instanceof UserError)) {
        throw error;
      }
      errors.push(error.message);
    }
  }
  errors.push(...findTwins(resources));
  if (errors.length > 0) {
    throw new UserError(errors.join('\n'));
  }
  return resources;
}

/** The types of all resources in the folder, each once. */
export function resourceTypesIn(root: string, folder: string): string[] {
  const types = loadResources(root, folder).map(({ resourceType }) => resourceType);
  return [...new Set(types)].toSorted();
}

function resourceFiles(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) {
    return [];
  }
  const entries = globSync(`${folder}/**/*.json`, { cwd: root, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .toSorted();
}

function loadResource(root: string, file: string): DesiredResource {
  const resource = readJson(root, file) as Record<string, unknown> | null;
  const resourceType = resource?.['resourceType'];
  if (typeof resourceType !== 'string' || !RESOURCE_TYPES.includes(resourceType)) {
    throw new UserError(`${file} is not a FHIR resource: "resourceType" has to be a known type.`);
  }
  const hint = EXCLUDED[resourceType];
  if (hint !== undefined) {
    throw new UserError(`${file}: a ${resourceType} is not deployed from a file: ${hint}.`);
  }
  const identity = identityOf(resource ?? {});
  if (identity === undefined) {
    throw new UserError(
      `${file} needs "url", or an "identifier" with system and value: ` +
        'the deployment finds it by that.',
    );
  }
  if (wrongMember({ ...resource, id: '' }) !== undefined) {
    throw new UserError(`${file}: "meta" is not as FHIR defines it.`);
  }
  const members = Object.entries(resource ?? {}).filter(
    ([name]) => name !== 'resourceType' && !SERVER_MEMBERS.includes(name),
  );
  return {
    file,
    resourceType: resourceType as Resource['resourceType'],
    identity,
    query: queryFor(identity),
    fields: withoutEmptyMembers(Object.fromEntries(members)) as Fields,
    meta: (resource?.['meta'] ?? {}) as DesiredResource['meta'],
  };
}

function readJson(root: string, file: string): unknown {
  let text: string;
  try {
    text = readText(join(root, file), file);
  } catch (error) {
    if (error instanceof UserError) {
      throw error;
    }
    throw new UserError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.replaceAll(/\s+/g, ' ');
    throw new UserError(`${file} is not valid JSON: ${reason}`);
  }
}

/**
 * Leaves out members that are empty: servers take `""`, `[]` and `{}`, and do not store them, so
 * the resource would never be as its file says.
 */
function withoutEmptyMembers(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(withoutEmptyMembers);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  const members = Object.entries(value).map(([name, member]) => [
    name,
    withoutEmptyMembers(member),
  ]);
  return Object.fromEntries(members.filter(([, member]) => !isEmpty(member)));
}

function isEmpty(value: unknown): boolean {
  return (
    value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
  );
}

function identityOf({ url, identifier }: Record<string, unknown>): Identity | undefined {
  if (isText(url)) {
    return { url };
  }
  const [first] = [identifier].flat() as ({ system?: unknown; value?: unknown } | undefined)[];
  const { system, value } = first ?? {};
  return isText(system) && isText(value) ? { system, value } : undefined;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function queryFor(identity: Identity): string {
  return 'url' in identity
    ? `url=${escapeValue(identity.url)}`
    : `identifier=${escapeValue(identity.system)}|${escapeValue(identity.value)}`;
}

/** FHIR separates values by commas, and parts by bars: inside a value both are escaped. */
function escapeValue(text: string): string {
  return encodeURIComponent(text.replaceAll(/[\\,|]/g, String.raw`\$&`));
}

function findTwins(resources: readonly DesiredResource[]): string[] {
  const files = new Map<string, string>();
  return resources.flatMap(({ file, resourceType, query }) => {
    const key = `${resourceType}?${query}`;
    const first = files.get(key);
    files.set(key, file);
    return first
      ? [`${file} and ${first} are the same resource: they have the same url or identifier.`]
      : [];
  });
}
