// What a sync writes to the external server: a PUT behind its fence, or a transaction of them.
import type { Bundle, BundleEntry, Resource, ResourceType } from '@medplum/fhirtypes';
import { referencesOf, sanitize } from './fhir-sanitize.ts';
import type { SpellReference } from './fhir-sanitize.ts';
import { again, readSource } from './fhir-source.ts';
import { identifiersOf, lookAt, referenceThere, versionIn } from './fhir-target.ts';
import type { SyncContext, Target } from './fhir-target.ts';
import { HTTP_VERBS, isRequestFailure } from './http-request.ts';

/** What was done. `absent`: there was nothing to do; `merged`: kept, because it stands for another resource too. */
export interface Done {
  action: 'created' | 'updated' | 'unchanged' | 'deleted' | 'deactivated' | 'absent' | 'merged';
  /** The version on the external server, where something was written. */
  version?: string | undefined;
  /** References that were left out, because what they refer to is not synced. */
  leftOut: number;
}

/** HAPI keeps tags and security labels that a PUT does not have any more, unless it is told that these are all. */
export const WHOLE_META = { 'x-meta-snapshot-mode': 'TAG, SECURITY_LABEL, PROFILE' };

/**
 * Writes a resource, fenced by the version that was looked at.
 *
 * @param context - What the sync works with.
 * @param target - Where to; looked at before the source was read.
 * @param source - The resource, as Medplum has it.
 * @returns What was done.
 * @throws RequestFailure; 409 or 412 when another write came first. Error where there is no version to fence with.
 */
export async function put(context: SyncContext, target: Target, source: Resource): Promise<Done> {
  if (!target.version && !target.url.includes('?')) {
    throw new Error('Refused: the external server tells no versions, so that no write can be fenced');
  }
  const { body, leftOut } = copyFor(context, target, source, (reference) => referenceThere(context.config, reference));
  try {
    const { status, version } = await context.server.send(HTTP_VERBS.PUT, target.url, body, {
      ...WHOLE_META,
      prefer: 'return=minimal',
      ...(target.version && { 'if-match': `W/"${target.version}"` }),
    });
    return { action: actionOf(status, target, version), version, leftOut };
  } catch (error) {
    // Perhaps it refers to something that is not there yet (HAPI 8.8: 400, for a conditional reference 404).
    if (isRefused(error) && referencesOf(source, context.config.types).length > 0) {
      return putTogether(context, target, source);
    }
    throw error;
  }
}

/** Writes a resource and what it refers to that is not there yet: all or nothing, so that circles are no trouble. */
async function putTogether(context: SyncContext, target: Target, source: Resource): Promise<Done> {
  const { config, server } = context;
  const members = new Map([[`${source.resourceType}/${source.id}`, { target, source }]]);
  const unknown = new Set<string>();
  const known: string[] = [];
  for (const member of members.values()) {
    for (const reference of referencesOf(member.source, config.types).filter((one) => !members.has(one))) {
      const [type, id] = reference.split('/') as [ResourceType, string];
      const there = await lookAt(context, type, id);
      const here = there.resource ? undefined : await readSource(context, type, id, true);
      if (there.resource) {
        known.push(reference);
      } else if (here && config.inScope(here)) {
        members.set(reference, { target: there, source: here });
        context.along?.add(reference);
      } else {
        unknown.add(reference); // deleted, out of scope or not ours to read: nothing to refer to
      }
    }
  }
  const spell = (reference: string): string | undefined => {
    const inBundle = config.identity === 'identifier' && members.has(reference);
    return unknown.has(reference) ? undefined : inBundle ? fullUrl(reference) : referenceThere(config, reference);
  };
  const copies = [...members].map(([reference, member]) => ({
    ...member,
    ...copyFor(context, member.target, member.source, spell),
    reference,
  }));
  const entry = copies.map(({ reference, target: { url, version }, body }): BundleEntry => ({
    fullUrl: fullUrl(reference),
    resource: body,
    request: { method: 'PUT', url, ...(version && { ifMatch: `W/"${version}"` }) },
  }));
  const bundle: Bundle = { resourceType: 'Bundle', type: 'transaction', entry };
  const answer = await server.send<Bundle>(HTTP_VERBS.POST, '', bundle, WHOLE_META).catch(async (error: unknown) => {
    for (const [type = '', id = ''] of isRefused(error) ? known.map((reference) => reference.split('/')) : []) {
      if (!(await lookAt(context, type, id)).resource) {
        throw again(`${type}/${id} was deleted there meanwhile`);
      }
    }
    throw error;
  });
  const response = answer.body?.entry?.[0]?.response;
  const version = versionIn(response?.etag);
  const action = actionOf(Number.parseInt(response?.status ?? ''), target, version);
  return { action, version, leftOut: copies[0]?.leftOut ?? 0 };
}

/** Whether the server did not like what it was sent, or what that refers to. */
function isRefused(error: unknown): boolean {
  return isRequestFailure(error) && [400, 404, 422].includes(error.status);
}

function fullUrl(reference: string): string {
  return `urn:uuid:${reference.split('/')[1]}`;
}

/**
 * Makes the body to write.
 *
 * @param context - What the sync works with.
 * @param target - Where it goes.
 * @param source - The resource, as Medplum has it.
 * @param spell - How references are written there.
 * @returns The body, and how many references were left out.
 */
export function copyFor(
  { config }: SyncContext,
  target: Target,
  source: Resource,
  spell: SpellReference,
): { body: Resource; leftOut: number } {
  const system = config.sourceSystem(source.resourceType);
  const { body, leftOut } = sanitize(source, { system, value: source.id ?? '' }, spell);
  const own = identifiersOf(body).filter((one) => one.system !== config.targetSystem); // it knows its own id
  // What was merged there stays so: without the other's identifier, a deletion of this one would delete it for both.
  const known = new Set(own.map((one) => (one.system === system ? one.value : undefined)));
  const merged = identifiersOf(target.resource ?? body).filter((one) => one.system === system && !known.has(one.value));
  const identifier = [...own, ...merged];
  const { id: _medplumId, ...rest } = body;
  const id = target.url.includes('?') ? {} : { id: target.url.split('/')[1] };
  return { body: { ...rest, ...id, ...(identifier.length > 0 && { identifier }) } as Resource, leftOut };
}

function actionOf(status: number, target: Target, version: string | undefined): Done['action'] {
  return status === 201 ? 'created' : version !== undefined && version === target.version ? 'unchanged' : 'updated';
}
