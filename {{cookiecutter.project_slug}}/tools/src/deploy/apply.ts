// Carries out the steps of one change. Each request can be repeated: the next run finds and
// finishes what an interrupted one has left.
import type { Bot, Coding } from '@medplum/fhirtypes';
import { readBundle } from './bundle-code.ts';
import type { Change, Step } from './change.ts';
import { deployStored, uploadCode } from './deploy-code.ts';
import { withTags } from './identity.ts';
import { linkTo, resolveLinks } from './links.ts';
import type { Links } from './links.ts';
import type { Server } from './server.ts';
import type { Stored } from './stored.ts';
import { ConflictError, create, patch, remove } from './write.ts';

/**
 * @param system - identifierSystem
 * @param change - of the plan
 * @param commit - the git commit that new code is marked with
 * @throws UserError that says what was answered, or found instead
 */
export async function applyChange(
  server: Server,
  system: string,
  change: Change,
  commit?: string,
): Promise<void> {
  // What exists by now, by its link (`Bot/staging/sync-bot`, see links.ts): a later step may refer
  // to a resource by its link, as it had no id when the plan was made.
  const written = new Map<string, Stored>();
  if (change.existing && change.desired) {
    written.set(linkTo('Bot', change.desired.key), change.existing);
  }
  for (const step of change.steps) {
    switch (step.type) {
      case 'write':
        written.set(step.link, await applyWrite(server, system, step, written, commit));
        break;
      case 'deploy':
        await deployStored(server, system, written.get(step.link) as Stored<Bot>, step.sha256);
        break;
      case 'remove':
        await remove(server, step.existing);
    }
  }
}

type WriteStep = Extract<Step, { type: 'write' }>;

async function applyWrite(
  server: Server,
  system: string,
  step: WriteStep,
  written: ReadonlyMap<string, Stored>,
  commit: string | undefined,
): Promise<Stored> {
  const { existing, resourceType, code } = step;
  const links: Links = new Map(
    [...written].map(([link, resource]) => [link, `${resource.resourceType}/${resource.id}`]),
  );
  const upload =
    code && (await uploadCode(server, system, existing as Bot, code, readBundle(code), commit));
  const marks = step.marksCommit ? commitMark(system, step, commit) : {};
  const fields = { ...resolveLinks(step.fields, links), ...upload, ...marks };
  if (existing) {
    return patch(server, existing, fields);
  }
  const query = replaceLinks(step.createQuery ?? '', links);
  const resource = await create(server, resourceType, fields, query, step.newId);
  // Another run may have created the Bot at the same moment, with other code.
  if (code && (resource as Bot).executableCode?.title !== code.title) {
    throw new ConflictError(resource);
  }
  return resource;
}

/** The resource's tags with the commit it is written from. */
function commitMark(system: string, { existing, fields }: WriteStep, commit: string | undefined) {
  const meta = { tag: (fields['meta.tag'] as Coding[] | undefined) ?? existing?.meta?.tag ?? [] };
  const marked = { ...existing, meta } as Stored;
  return commit ? { 'meta.tag': withTags(marked, `${system}/commit`, [commit]) } : {};
}

/** Puts ids in place of links: `profile=Bot/staging/sync-bot` -> `profile=Bot/<id>`. */
function replaceLinks(query: string, links: Links): string {
  return [...links].reduce((text, [link, reference]) => text.replaceAll(link, reference), query);
}
