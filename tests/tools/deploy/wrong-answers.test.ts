// Whatever a server answers, a plan is made, or one line says what is wrong: each member of each
// answer is replaced by values of other kinds.
import type { Questionnaire } from '@medplum/fhirtypes';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { prepare } from '../../tools/src/deploy/deploy.ts';
import { UserError } from '../../tools/src/terminal/user-error.ts';
import { run, startProxiedMedplum, writeRepository } from './harness.ts';
import type { ProxiedMedplum, Request } from './harness.ts';

const WRONG_VALUES: unknown[] = [null, 5, 'x', [], {}, [null], true];

/** In a message, a value that the code did not expect; or more than one line. */
const NOT_FOR_PEOPLE = /undefined|\[object|NaN|\n/;

type Path = (string | number)[];

let medplum: ProxiedMedplum;
let root: string;
beforeAll(async () => {
  medplum = await startProxiedMedplum();
  root = writeRepository([
    {
      name: 'sync-bot',
      subscriptions: [{ criteria: 'Patient' }],
      cron: '0 * * * *',
      accessPolicy: [{ resourceType: 'Patient' }],
      secrets: [{ name: 'TOKEN', optional: true }],
    },
  ]);
  const form: Questionnaire = {
    resourceType: 'Questionnaire',
    status: 'active',
    url: 'urn:form',
    title: 'Form',
  };
  mkdirSync(join(root, 'resources'));
  writeFileSync(join(root, 'resources/form.json'), JSON.stringify(form));
  expect((await run(medplum, root)).failed).toEqual([]);
});
afterAll(() => medplum.stop());

/** Requests of the same kind, whatever they search for. */
const kindOf = ({ method, path }: Request): string => `${method} ${path.replace(/\?.*/, '')}`;

it('a wrong member of an answer is never an error of the code', async () => {
  const answers = await recordAnswers();
  expect(answers.size).toBeGreaterThan(3);
  const unexpected: string[] = [];
  let tried = 0;
  for (const [kind, answer] of answers) {
    for (const path of pathsByMember(answer).values()) {
      // One value for each member keeps the test short; neighbours get different ones.
      const wrong = WRONG_VALUES[tried % WRONG_VALUES.length];
      tried += 1;
      medplum.rule = (request) =>
        kindOf(request) === kind
          ? (text) => JSON.stringify(replaceAt(JSON.parse(text), path, wrong))
          : undefined;
      await prepare({ root }).catch((error: unknown) => {
        if (!(error instanceof UserError) || NOT_FOR_PEOPLE.test(error.message)) {
          unexpected.push(`${kind}: ${path.join('.')} := ${JSON.stringify(wrong)}: ${error}`);
        }
      });
    }
  }
  expect(unexpected).toEqual([]);
});

/** @returns the server's answers to a plan, by the kind of request */
async function recordAnswers(): Promise<Map<string, unknown>> {
  const answers = new Map<string, unknown>();
  medplum.rule = (request) => (text) => {
    answers.set(kindOf(request), JSON.parse(text));
    return text;
  };
  await prepare({ root });
  return answers;
}

/**
 * @returns the path to each member of a value, by the type of the resource that it belongs to and
 *   its name there, such as `Bot.meta.tag`; to the first one if there are several
 */
function pathsByMember(value: unknown, name = '', path: Path = []): Map<string, Path> {
  const paths = new Map([[name, path]]);
  if (typeof value === 'object' && value !== null) {
    const start = 'resourceType' in value ? String(value.resourceType) : name;
    for (const [key, member] of Object.entries(value)) {
      const found = Array.isArray(value)
        ? pathsByMember(member, `${start}[]`, [...path, Number(key)])
        : pathsByMember(member, `${start}.${key}`, [...path, key]);
      for (const [memberName, memberPath] of found) {
        if (!paths.has(memberName)) {
          paths.set(memberName, memberPath);
        }
      }
    }
  }
  return paths;
}

/** @returns a copy with another value at this place */
function replaceAt(value: unknown, path: Path, replacement: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined || typeof value !== 'object' || value === null) {
    return replacement;
  }
  if (Array.isArray(value)) {
    return value.map((item, index) => (index === name ? replaceAt(item, rest, replacement) : item));
  }
  const member = (value as Record<string, unknown>)[name];
  return { ...value, [name]: replaceAt(member, rest, replacement) };
}
