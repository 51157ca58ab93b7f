// Code on its way into a Bot: uploaded as a Binary, put in place by one PATCH of the Bot, deployed,
// and marked.
import type { Binary, Bot, OperationOutcome } from '@medplum/fhirtypes';
import { setTimeout as sleep } from 'node:timers/promises';
import { UserError } from '../terminal/user-error.ts';
import { codeTags } from './bundle-code.ts';
import type { Code } from './bundle-code.ts';
import { withTags } from './identity.ts';
import { RequestError } from './server.ts';
import type { Server } from './server.ts';
import { isOutcome } from './shapes.ts';
import type { Fields, Stored } from './stored.ts';
import { ConflictError, patch } from './write.ts';

/**
 * The tags that describe the code of a Bot; their systems are identifierSystem, a slash and one of
 * these.
 */
const CODE_TAGS = ['shared', 'source', 'commit', 'deployed'];

/**
 * How often `$deploy` is tried while AWS is busy with the function, and the pause between, in
 * milliseconds.
 */
const DEPLOY_ATTEMPTS = 10;
const DEPLOY_PAUSE = 3000;

/** How often the mark is tried on top of other clients' edits. */
const MARK_ATTEMPTS = 5;

/**
 * Uploads code, so that one PATCH of the Bot puts it, its tags and the settings in place together.
 * `$deploy` with the code in its body would write the whole Bot as it read it, over every edit made
 * since, and stops at 1 MB.
 *
 * @returns the members of the Bot that this code sets; the mark of a finished deployment is not
 *   among its tags
 * @throws UserError if the server does not say which Binary it stored
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
  const headers = { 'Content-Type': contentType };
  const binary = await server.send<Partial<Binary> | null>('POST', 'Binary', text, headers);
  if (binary?.resourceType !== 'Binary' || typeof binary.id !== 'string' || binary.id === '') {
    throw new UserError('POST Binary was answered without a Binary and its id: it is not stored');
  }
  const systems = CODE_TAGS.map((name) => `${system}/${name}`);
  const others = (existing?.meta?.tag ?? []).filter((tag) => !systems.includes(tag.system ?? ''));
  const tags = [...others, ...codeTags(system, code, commit)];
  return {
    executableCode: { contentType, url: `Binary/${binary.id}`, title: code.title },
    'meta.tag': tags.length > 0 ? tags : undefined,
  };
}

/**
 * `$deploy` of the code that the Bot holds, then the mark that it succeeded: a `$deploy` that fails
 * leaves the new code in the Bot, too.
 *
 * @param bot - as it was read or written last
 * @param sha256 - of the code it holds
 * @throws UserError for any answer but a clean success
 */
export async function deployStored(
  server: Server,
  system: string,
  bot: Stored<Bot>,
  sha256: string,
): Promise<void> {
  checkDeployOutcome(await requestDeploy(server, bot));
  let current = bot;
  for (let attempt = 1; ; attempt++) {
    try {
      const tags = withTags(current, `${system}/deployed`, [sha256]);
      await patch(server, current, { 'meta.tag': tags });
      return;
    } catch (error) {
      if (!(error instanceof ConflictError) || attempt === MARK_ATTEMPTS) {
        throw error;
      }
      current = error.current as Stored<Bot>;
      // An edit of the Bot: the mark is set on top of it. Other code is not ours to mark.
      if (current.executableCode?.title !== bot.executableCode?.title) {
        throw error;
      }
    }
  }
}

/** Asks again while AWS still applies the previous change of the function. */
async function requestDeploy(
  server: Server,
  bot: Stored<Bot>,
): Promise<Partial<OperationOutcome> | null> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await server.send('POST', `Bot/${bot.id}/$deploy`, {});
    } catch (error) {
      const isBusy = error instanceof RequestError && isUpdateInProgress(error);
      if (!isBusy || attempt === DEPLOY_ATTEMPTS) {
        throw error;
      }
      await sleep(DEPLOY_PAUSE);
    }
  }
}

/**
 * Medplum answers 400 with the text of AWS's ResourceConflictException, and with nothing else to
 * tell it by.
 */
function isUpdateInProgress({ status, reason }: RequestError): boolean {
  return status === 400 && reason.includes('An update is in progress for resource');
}

/** @throws UserError unless the outcome has issues, all of which are informational */
function checkDeployOutcome(outcome: Partial<OperationOutcome> | null): void {
  const isComplete = outcome?.resourceType === 'OperationOutcome' && isOutcome(outcome);
  const issues = (isComplete && outcome.issue) || [];
  if (issues.length === 0) {
    throw new UserError('$deploy was answered without an outcome, so it may not have happened');
  }
  const bad = issues.filter(({ severity }) => severity !== 'information');
  if (bad.length > 0) {
    const texts = bad.map(({ details, diagnostics, code }) => details?.text ?? diagnostics ?? code);
    throw new UserError(`$deploy warned: ${texts.join('; ') || 'it gave no reason'}`);
  }
}
