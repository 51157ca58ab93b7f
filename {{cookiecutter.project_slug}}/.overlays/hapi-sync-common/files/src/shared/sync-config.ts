// What is synced, and how: the file to change when another type, another server or another rule comes.
import type { Resource, ResourceType } from '@medplum/fhirtypes';
import { optionalSecret } from './secrets.ts';
import type { Secrets } from './secrets.ts';

export interface SyncConfig {
  /**
   * The types to sync, each after those that it refers to, e.g. Organization before Patient. A reference among them
   * stays a reference; any other is left out. Each type needs a subscription and read access for the sync bot, and
   * read access for the reconcile bot, in medplum.config.json.
   */
  types: ResourceType[];
  /**
   * How a resource is recognised on the external server.
   * `medplum-id`: it has the same id there. Every write is fenced; two copies cannot come to be.
   * `identifier`: for servers that give ids themselves. Creating is not fenced: a create that lands late can bring a
   * deleted resource back, and parallel creates can make two (removed as soon as seen). The server's id is written
   * back to Medplum as an identifier, so the sync bot needs write access to the types.
   */
  identity: 'medplum-id' | 'identifier';
  /** What becomes of a resource that was deleted, or is not in scope any more; `deactivate` sets `active` to false. */
  onDelete: 'delete' | 'deactivate';
  /** The system of the identifier that carries the Medplum id, by type. Two projects on one server need two. */
  sourceSystem: (resourceType: string) => string;
  /** The system under which the external server's id is written back (identity `identifier` only). */
  targetSystem: string;
  /** Which resources belong on the external server. Said here, because leaving a subscription's criteria is silent. */
  inScope: (resource: Resource) => boolean;
}

/**
 * The configuration of this Medplum project.
 *
 * @param secrets - `event.secrets`. `HAPI_SOURCE_SYSTEM` (optional) sets this project apart from others that sync to
 *   the same server: it takes the place of `https://medplum.com` in the source identifiers.
 * @returns The configuration.
 */
export function syncConfig(secrets: Secrets): SyncConfig {
  const authority = optionalSecret(secrets, 'HAPI_SOURCE_SYSTEM') ?? 'https://medplum.com';
  return {
    types: ['Patient'],
    identity: 'medplum-id',
    onDelete: 'delete',
    sourceSystem: (resourceType) => `${authority}/${resourceType.toLowerCase()}-id`,
    targetSystem: 'urn:external-fhir-server:id',
    inScope: () => true,
  };
}
