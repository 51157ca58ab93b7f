// Which resource changed, read from every form that an event can have (Medplum 5.1).
import type { BotEvent } from '@medplum/core';
import type { Resource } from '@medplum/fhirtypes';

/**
 * A change. It says which resource to look at; the server may hold a newer state than the event.
 */
export interface Change {
  kind: 'upsert' | 'delete';
  resourceType: string;
  id: string;
  /** The resource as it was when the event was made; an older server leaves it out of a delete. */
  resource?: Resource;
}

/**
 * Reads an event.
 *
 * - create and update: `input` is the resource;
 * - delete: `input` is `{ deletedResource }`, and the header `X-Medplum-Deleted-Resource` says
 *   `Patient/<id>`;
 * - delete on an older server: `input` is `{}`, only the header says which;
 * - delete before the commit: `input` is the resource, and only the header says that it is being
 *   deleted. (Never sync from a pre-commit bot: the deletion may still fail.)
 *
 * @param event - The bot's event; header names in any case.
 * @returns The change.
 * @throws Error when the event names no resource, e.g. when the bot runs by cron.
 * @example const { kind, resourceType, id } = changeFrom(event);
 */
export function changeFrom(event: Pick<BotEvent, 'input' | 'headers'>): Change {
  const input = (event.input ?? {}) as Partial<Resource> & { deletedResource?: Resource };
  const deleted = header(event, 'x-medplum-deleted-resource');
  const isDelete =
    Boolean(deleted ?? input.deletedResource) ||
    header(event, 'x-medplum-interaction') === 'delete';
  const resource = input.deletedResource ?? (input.resourceType ? (input as Resource) : undefined);
  const [resourceType = '', id = ''] = resource
    ? [resource.resourceType, resource.id]
    : (deleted ?? '').split('/');
  if (!isTypeAndId(resourceType, id)) {
    throw new Error(
      'This event names no resource: the bot expects a subscription, ' +
        'or an input of { resourceType, id }',
    );
  }
  return { kind: isDelete ? 'delete' : 'upsert', resourceType, id, ...(resource && { resource }) };
}

/**
 * Tells whether two texts name a resource.
 *
 * @param resourceType - E.g. `Patient`.
 * @param id - E.g. a UUID.
 * @returns True for a FHIR type and id (R4, 2.24.0.1). "undefined" and "null" are refused, because
 *   only a bug makes them an id; so are dots alone, which would lead somewhere else in an address.
 * @example isTypeAndId('Patient', '../Observation/7') // false
 */
export function isTypeAndId(resourceType: string, id: string): boolean {
  const isAccident = ['undefined', 'null', 'NaN', '.', '..'].includes(id);
  return /^[A-Z][A-Za-z]+$/.test(resourceType) && /^[A-Za-z0-9.-]{1,64}$/.test(id) && !isAccident;
}

function header(event: Pick<BotEvent, 'headers'>, name: string): string | undefined {
  const found = Object.entries(event.headers ?? {}).find(
    ([key]) => key.toLowerCase() === name,
  )?.[1];
  return Array.isArray(found) ? found[0] : found;
}
