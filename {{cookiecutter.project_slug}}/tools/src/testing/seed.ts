// What is on the local Medplum before a test begins.
import type { MedplumClient } from '@medplum/core';
import { isUUID } from '@medplum/core';
import type { Bundle, BundleEntry, Resource } from '@medplum/fhirtypes';
import type { LocalRepository } from '../medplum/repository.ts';
import { UserError } from '../terminal/user-error.ts';

/**
 * Writes resources and bundles, in their order. Resources keep their ids.
 *
 * @param repository - the server's own
 * @param client - for batches and transactions
 * @throws UserError if Medplum refuses one of them
 */
export async function seedResources(
  repository: LocalRepository,
  client: MedplumClient,
  resources: readonly Resource[],
): Promise<void> {
  for (const resource of resources) {
    if (resource.resourceType !== 'Bundle') {
      await seedResource(repository, resource);
    } else if (resource.type === 'batch' || resource.type === 'transaction') {
      await seedBatch(client, resource);
    } else {
      await seedResources(repository, client, contentsOf(resource));
    }
  }
}

async function seedResource(repository: LocalRepository, resource: Resource): Promise<void> {
  if (resource.id !== undefined && !isUUID(resource.id)) {
    throw new UserError(
      `${resource.resourceType}/${resource.id} cannot be created: Medplum's ids are UUIDs. ` +
        'Leave the id out, or give it one.',
    );
  }
  await repository.createResource(resource, { assignedId: true });
}

async function seedBatch(client: MedplumClient, bundle: Bundle): Promise<void> {
  const { entry = [] } = await client.executeBatch(bundle);
  entry.forEach(({ response }, index) => {
    if (!response?.status.startsWith('2')) {
      const { method, url } = bundle.entry?.[index]?.request ?? {};
      const text = response?.outcome?.issue?.[0]?.details?.text ?? '';
      throw new UserError(
        `Entry ${index} of a ${bundle.type} (${method} ${url}) was answered with ` +
          `${response?.status}: ${text}`,
      );
    }
  });
}

function contentsOf(bundle: Bundle): Resource[] {
  return (bundle.entry ?? []).flatMap(({ resource }: BundleEntry) => resource ?? []);
}
