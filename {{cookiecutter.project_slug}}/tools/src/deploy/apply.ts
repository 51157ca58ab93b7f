// What writes: one bot's part of the plan, carried out. Each request can be repeated, and whatever a run that was
// interrupted has left is found and finished by the next one.
import type { Binary, Bot, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { UserError } from '../terminal/user-error.ts';
import { differences, withTags } from './actual.ts';
import type { Stored } from './actual.ts';
import { codeTags, readBundle } from './desired.ts';
import type { Code } from './desired.ts';
import type { Change } from './plan.ts';
import { RequestError } from './server.ts';
import type { Fields, Server } from './server.ts';

/** Someone else wrote a resource between our reading and our writing it. */
export class ChangedMeanwhile extends UserError {
  now: Stored<Resource>;
  constructor(now: Stored<Resource>) {
    const what = `${now.resourceType}/${now.id} was changed by someone else meanwhile`;
    super(`${what}. That was not overwritten: run it again`);
    this.now = now;
  }
}

/**
 * Carries out what the plan says for one bot.
 *
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
  const { desired, existing, membership, removals } = change;
  if (desired) {
    const { key, code } = desired;
    const policy =
      change.policy &&
      (await write(
        server,
        'AccessPolicy',
        change.policy,
        `_tag=${token(`${system}/policy`, key)}`,
      ));
    const upload =
      change.code && (await uploadCode(server, system, existing, code, readBundle(code), commit));
    const fields: Fields = { ...change.bot, ...upload };
    const bot = (await write(
      server,
      'Bot',
      { existing, fields },
      `identifier=${token(system, key)}`,
    )) as Stored<Bot>;
    if (!existing && bot.executableCode?.title !== code.title) throw new ChangedMeanwhile(bot);
    if (membership) await writeMembership(server, bot, membership, policy?.id);
    if (change.code) await deployStored(server, system, bot, code.sha256);
    for (const { existing: there, fields: members } of change.subscriptions) {
      const { channel, 'meta.tag': tag } = members as {
        channel?: object;
        'meta.tag'?: { code: string }[];
      };
      const whole = channel
        ? { ...members, channel: { ...channel, endpoint: `Bot/${bot.id}` } }
        : members;
      const query = `_tag=${token(`${system}/subscription`, tag?.at(-1)?.code ?? '')}`;
      await write(server, 'Subscription', { existing: there, fields: whole }, query);
    }
  }
  for (const resource of removals) await remove(server, resource);
}

/**
 * Uploads code, so that one PATCH of the Bot puts it, its tags and the settings in place together. `$deploy` with the code
 * in its body would write the whole Bot as it read it, over every edit made meanwhile, and stops at 1 MB.
 *
 * @returns the members of the Bot that this code sets; the mark of a finished deployment is not among its tags
 */
export async function uploadCode(
  server: Server,
  system: string,
  existing: Bot | undefined,
  code: Pick<Code, 'title' | 'shared' | 'source'>,
  text: string,
  commit: string | undefined,
): Promise<Fields> {
  const contentType = 'text/javascript';
  const { id } = await server.send<Stored<Binary>>('POST', 'Binary', text, {
    'Content-Type': contentType,
  });
  const ours = ['shared', 'source', 'commit', 'deployed'].map((kind) => `${system}/${kind}`);
  const others = (existing?.meta?.tag ?? []).filter((tag) => !ours.includes(tag.system ?? ''));
  const tags = [...others, ...codeTags(system, code, commit)];
  const executableCode = { contentType, url: `Binary/${id}`, title: code.title };
  return { executableCode, 'meta.tag': tags.length > 0 ? tags : undefined };
}

/**
 * `$deploy` of the code that the Bot holds; a warning is a failure. Then the mark that it worked: a `$deploy` that fails
 * leaves the new code in the Bot too.
 *
 * @param bot - as it was read or written last
 * @param sha256 - of the code it holds
 */
export async function deployStored(
  server: Server,
  system: string,
  bot: Stored<Bot>,
  sha256: string,
): Promise<void> {
  const outcome = await server.send<OperationOutcome>('POST', `Bot/${bot.id}/$deploy`, {});
  const bad = outcome.issue.filter(({ severity }) => severity !== 'information');
  if (bad.length > 0)
    throw new UserError(
      `$deploy warned: ${bad.map(({ details, code }) => details?.text ?? code).join('; ')}`,
    );
  let now = bot;
  for (let tries = 1; ; tries++) {
    try {
      await patch(server, now, { 'meta.tag': withTags(now, `${system}/deployed`, [sha256]) });
      return;
    } catch (error) {
      if (!(error instanceof ChangedMeanwhile) || tries === 5) throw error;
      now = error.now as Stored<Bot>;
      // Someone's edit of the Bot: the mark is set on top of it. Other code: not ours to mark.
      if (now.executableCode?.title !== bot.executableCode?.title) throw error;
    }
  }
}

async function writeMembership(
  server: Server,
  bot: Stored<Bot>,
  { existing, policy }: NonNullable<Change['membership']>,
  policyId: string | undefined,
): Promise<void> {
  const reference = `Bot/${bot.id}`;
  const accessPolicy =
    policy === 'attach' && policyId ? { reference: `AccessPolicy/${policyId}` } : undefined;
  const project = { reference: `Project/${server.environment.projectId}` };
  const fields = existing
    ? { accessPolicy }
    : { project, user: { reference }, profile: { reference }, accessPolicy };
  await write(server, 'ProjectMembership', { existing, fields }, `profile=${reference}`);
}

/** Creates a resource unless one fits the query (40 at the same time make one), or changes the one that is there. */
async function write(
  server: Server,
  resourceType: Resource['resourceType'],
  { existing, fields }: { existing?: Stored<Resource> | undefined; fields: Fields },
  query: string,
): Promise<Stored<Resource>> {
  if (existing) return patch(server, existing, fields);
  const { 'meta.tag': tag, ...members } = fields;
  const resource = { resourceType, ...members, ...(tag !== undefined && { meta: { tag } }) };
  return server.send('POST', resourceType, resource, { 'If-None-Exist': query });
}

/**
 * Changes members of a resource, and only where it is still as it was read.
 *
 * @returns the resource as it is now
 * @throws ChangedMeanwhile
 */
export async function patch(
  server: Server,
  existing: Stored<Resource>,
  fields: Fields,
): Promise<Stored<Resource>> {
  if (Object.keys(fields).length === 0) return existing;
  const path = `${existing.resourceType}/${existing.id}`;
  const operations = Object.entries(fields).map(([member, value]) => {
    return {
      op: value === undefined ? 'remove' : 'add',
      path: `/${member.replace('.', '/')}`,
      value,
    };
  });
  const test = { op: 'test', path: '/meta/versionId', value: existing.meta?.versionId };
  try {
    return await server.send('PATCH', path, [test, ...operations]);
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 400) throw error;
    const now = await server.send<Stored<Resource>>('GET', path);
    if (now.meta?.versionId === existing.meta?.versionId) throw error;
    // An answer that was lost, or another run of the same deployment: what was to be done is done.
    const left = Object.keys(differences(now, fields)).filter(
      (member) => !(member === 'executableCode' && sameCode(now, fields)),
    );
    if (left.length === 0) return now;
    throw new ChangedMeanwhile(now);
  }
}

/** Addresses of code differ at each read; its title has the hash. */
function sameCode(now: Resource, { executableCode }: Fields): boolean {
  return (now as Bot).executableCode?.title === (executableCode as Bot['executableCode'])?.title;
}

/** A Subscription is switched off first: nothing starts its bot while the rest is taken away. What is gone is gone. */
async function remove(server: Server, resource: Stored<Resource>): Promise<void> {
  try {
    if (resource.resourceType === 'Subscription' && resource.status === 'active')
      await patch(server, resource, { status: 'off' });
    await server.send('DELETE', `${resource.resourceType}/${resource.id}`);
  } catch (error) {
    if (!(error instanceof RequestError) || ![404, 410].includes(error.status)) throw error;
  }
}

/** `system|code` for a query. */
function token(system: string, code: string): string {
  return `${encodeURIComponent(system)}|${encodeURIComponent(code)}`;
}
