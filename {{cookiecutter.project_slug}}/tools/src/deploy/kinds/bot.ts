// The Bot: its settings, its identifier and its code.
import type { Bot, Identifier } from '@medplum/fhirtypes';
import type { Code } from '../bundle-code.ts';
import { nameInKey, tagOf, tagsOf } from '../identity.ts';
import { token } from '../links.ts';
import type { CodeReason, Reason } from '../reasons.ts';
import { differences } from '../stored.ts';
import type { Fields } from '../stored.ts';
import type { Kind, Subject } from './kind.ts';

/** What `$deploy` of this repository names its code: `<bot>.<start of the sha256>.cjs`. */
const OWN_TITLE = /\.[0-9a-f]{16}\.cjs$/;

export const botKind: Kind<Bot> = {
  resourceType: 'Bot',
  order: 2,
  needsDeploy: ['timeout', 'runtimeVersion'],

  desired({ bot, existing, keys, system }) {
    const isOwn = (identifier: Identifier): boolean =>
      identifier.system === system && keys.includes(identifier.value ?? '');
    const others = (existing?.identifier ?? []).filter((identifier) => !isOwn(identifier));
    // Only Medplum's admin endpoint fills runtimeVersion in. A Bot without it is deployed, but
    // never runs.
    const runtimeVersion =
      bot.settings['runtimeVersion'] ?? existing?.runtimeVersion ?? 'awslambda';
    const fields: Fields = { ...bot.settings, runtimeVersion };
    const hasKey = existing?.identifier?.some(
      (identifier) => identifier.system === system && identifier.value === bot.key,
    );
    if (!hasKey) {
      fields['identifier'] = [...others, { system, value: bot.key }];
    }
    return [fields];
  },

  find({ existing }) {
    return existing ? [existing] : [];
  },

  compare(subject, { wanted, stored }) {
    const fields = differences(stored, wanted);
    if (!stored) {
      return { fields, reasons: [], uploadsCode: true };
    }
    const code = compareCode(subject, stored, fields);
    const reasons = [...settingReasons(subject, stored, fields), ...(code ? [code] : [])];
    return { fields, reasons, uploadsCode: code !== undefined };
  },

  createQuery({ system, bot }) {
    return `identifier=${token(system, bot.key)}`;
  },

  // So that `Bot/<id>` in code and in resources finds the bot locally, too.
  newId({ bot, actual }) {
    return actual.isLocalMedplum ? bot.id : undefined;
  },
};

function settingReasons({ system, keys }: Subject, stored: Bot, fields: Fields): Reason[] {
  const reasons: Reason[] = [];
  if (fields['identifier']) {
    const previous = stored.identifier?.find(
      (identifier) => identifier.system === system && keys.includes(identifier.value ?? ''),
    );
    const from = previous?.value;
    reasons.push(
      from === undefined ? { type: 'adopted' } : { type: 'renamed', from: nameInKey(from) },
    );
  }
  const members = Object.keys(fields).filter((member) => member !== 'identifier');
  if (members.length > 0) {
    const changes = members.map((member) => ({
      member,
      from: stored[member as keyof Bot],
      to: fields[member],
    }));
    reasons.push({ type: 'settings-changed', changes });
  }
  return reasons;
}

/** @returns why the code has to be deployed; undefined if the Bot runs it already */
function compareCode({ system, bot, options }: Subject, stored: Bot, fields: Fields) {
  const { code } = bot;
  // Both have to agree: a `$deploy` that failed leaves the new title, too.
  const hasTitle = stored.executableCode?.title?.includes(code.sha256.slice(0, 16)) === true;
  if (!hasTitle || tagOf(stored, `${system}/deployed`) !== code.sha256) {
    return whyCodeDiffers(system, stored, code);
  }
  if (options.force) {
    return { type: 'code-forced' } satisfies CodeReason;
  }
  const members = botKind.needsDeploy.filter((member) => member in fields);
  return members.length > 0
    ? ({ type: 'code-settings-changed', members: [...members] } satisfies CodeReason)
    : undefined;
}

function whyCodeDiffers(system: string, stored: Bot, code: Code): CodeReason {
  if (!stored.executableCode) {
    return { type: 'code-missing' };
  }
  const title = stored.executableCode.title ?? '';
  const deployed = tagOf(stored, `${system}/deployed`);
  if (!deployed) {
    return OWN_TITLE.test(title) ? { type: 'code-unfinished' } : { type: 'code-foreign', title };
  }
  if (!title.includes(deployed.slice(0, 16))) {
    return { type: 'code-replaced', title };
  }
  const before = [...tagsOf(stored, `${system}/shared`), ...tagsOf(stored, `${system}/source`)];
  const now = [...code.shared, ...code.source];
  const paths = now.filter(([, version]) => !before.includes(version)).map(([path]) => path);
  if (paths.length > 0) {
    return { type: 'code-sources-changed', paths };
  }
  return before.length > now.length
    ? { type: 'code-imports-removed' }
    : { type: 'code-built-differently' };
}

/** Whether the title is one that this tool gives to code. */
export function isOwnTitle(title: string): boolean {
  return OWN_TITLE.test(title);
}
