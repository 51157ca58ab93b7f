// The files of resources/: planned, deployed, rolled back and removed with the promises of bots.
import type { OperationDefinition, Organization, Questionnaire } from '@medplum/fhirtypes';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadResources } from '../../tools/src/deploy/desired-resources.ts';
import { ROLLBACK, all, run, startProxiedMedplum, writeRepository } from './harness.ts';
import type { ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

const URL = 'https://example.com/Questionnaire/intake';
const IMPLEMENTATION =
  'https://medplum.com/fhir/StructureDefinition/operationDefinition-implementation';

let medplum: ProxiedMedplum;
let root: string;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
  root = writeRepository([{ name: 'note-bot' }]);
});
afterEach(() => medplum.stop());

function write(file: string, resource: object): void {
  mkdirSync(dirname(join(root, file)), { recursive: true });
  writeFileSync(join(root, file), JSON.stringify(resource));
}
const intake = (members: object = {}): object => ({
  resourceType: 'Questionnaire',
  status: 'active',
  url: URL,
  title: 'Intake',
  ...members,
});
const questionnaire = async (): Promise<Questionnaire> => {
  const found = await all<Questionnaire>(medplum, 'Questionnaire');
  expect(found).toHaveLength(1);
  return found[0]!;
};

describe('a file of resources/', () => {
  it('becomes one resource, is changed in place, and then needs nothing', async () => {
    write('resources/forms/intake.json', intake({ description: 'old' }));
    const first = await run(medplum, root);
    expect(first.changed).toEqual(['note-bot', 'resources/forms/intake.json']);
    const { id } = await questionnaire();
    expect((await run(medplum, root)).writes).toEqual([]);

    write('resources/forms/intake.json', intake({ title: 'Welcome' }));
    const second = await run(medplum, root);
    expect(second.lines.join('\n')).toContain(
      '~ resources/forms/intake.json  Questionnaire (description, title changed)',
    );
    const changed = await questionnaire();
    expect(changed).toMatchObject({ id, title: 'Welcome' });
    expect(changed).not.toHaveProperty('description');
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('adopts a resource that has the same url, and keeps tags that others gave it', async () => {
    const tag = [{ system: 'urn:theirs', code: 'x' }];
    await medplum.server.repository.createResource<Questionnaire>({
      resourceType: 'Questionnaire',
      status: 'draft',
      url: URL,
      meta: { tag },
    });
    write('resources/intake.json', intake());
    expect((await run(medplum, root)).failed).toEqual([]);
    const { status, meta } = await questionnaire();
    expect(status).toBe('active');
    expect(meta?.tag).toContainEqual(tag[0]);
  });

  it('may have empty members, which no server stores', async () => {
    write('resources/intake.json', intake({ item: [], purpose: '', extension: [{}], code: [{}] }));
    const [resource] = loadResources(root, 'resources');
    expect(resource?.fields).not.toHaveProperty('item');
    expect(resource?.fields).not.toHaveProperty('purpose');
    write('resources/intake.json', intake({ item: [], purpose: '' }));
    expect((await run(medplum, root)).failed).toEqual([]);
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('is found by its identifier if it has no url', async () => {
    const identifier = [{ system: 'urn:test', value: 'clinic,1' }];
    write('resources/clinic.json', { resourceType: 'Organization', identifier, name: 'Clinic' });
    expect((await run(medplum, root)).failed).toEqual([]);
    expect((await run(medplum, root)).writes).toEqual([]);
    expect(await all<Organization>(medplum, 'Organization')).toHaveLength(1);
  });

  it('refers to a bot by name, also to one that is created in the same run', async () => {
    write('resources/note.json', {
      resourceType: 'OperationDefinition',
      status: 'active',
      kind: 'operation',
      name: 'note',
      code: 'note',
      url: 'https://example.com/OperationDefinition/note',
      system: false,
      type: true,
      instance: false,
      extension: [{ url: IMPLEMENTATION, valueReference: { reference: 'Bot/note-bot' } }],
    });
    expect((await run(medplum, root)).failed).toEqual([]);
    const [bot] = await all(medplum, 'Bot');
    const [operation] = await all<OperationDefinition>(medplum, 'OperationDefinition');
    expect(operation?.extension?.[0]?.valueReference?.reference).toBe(`Bot/${bot?.id}`);
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  describe('that refers to a bot', () => {
    const refersTo = (name: string): void =>
      write('resources/intake.json', intake({ subjectType: [`Bot/${name}`] }));
    const reference = async (): Promise<unknown> => (await questionnaire()).subjectType;

    it('is not written without the bot, as when --only leaves the bot out', async () => {
      refersTo('note-bot');
      const { failed, writes } = await run(medplum, root, { only: 'resources/*' });
      expect(failed).toEqual([
        {
          name: 'resources/intake.json',
          message: 'it refers to Bot/note-bot, which is not deployed yet',
        },
      ]);
      expect(writes).toEqual([]);
    });

    it('is not written if the bot cannot be created; the next run writes both', async () => {
      refersTo('note-bot');
      medplum.rule = ({ method, path }) =>
        method === 'POST' && path === 'Bot' ? { status: 500, text: '' } : undefined;
      const { failed } = await run(medplum, root);
      expect(failed).toEqual([
        { name: 'note-bot', message: 'POST Bot was answered with 500: Internal Server Error' },
        {
          name: 'resources/intake.json',
          message: 'it refers to Bot/note-bot, which is not deployed yet',
        },
      ]);
      expect(await all(medplum, 'Questionnaire')).toEqual([]);
      medplum.rule = () => undefined;
      expect((await run(medplum, root)).failed).toEqual([]);
      const [bot] = await all(medplum, 'Bot');
      expect(await reference()).toEqual([`Bot/${bot?.id}`]);
    });

    it('follows the bot to another name in the same run', async () => {
      refersTo('note-bot');
      expect((await run(medplum, root)).failed).toEqual([]);
      const before = await reference();
      writeRepository([{ name: 'memo-bot', previousNames: ['note-bot'] }], root);
      refersTo('memo-bot');
      const { failed, changed } = await run(medplum, root);
      expect(failed).toEqual([]);
      expect(changed).toEqual(['memo-bot']);
      expect(await reference()).toEqual(before);
    });
  });

  it('stops that file alone if it refers to a bot that is not there', async () => {
    write('resources/intake.json', intake({ subjectType: ['Bot/no-bot'] }));
    const { failed, changed } = await run(medplum, root);
    expect(changed).toEqual(['note-bot']);
    expect(failed).toEqual([
      {
        name: 'resources/intake.json',
        message: 'it refers to Bot/no-bot, which is not in medplum.config.json',
      },
    ]);
  });

  it('belongs to one environment', async () => {
    write('resources/intake.json', intake());
    await run(medplum, root);
    const { failed } = await run(medplum, root, { environment: 'staging' });
    expect(failed.map(({ message }) => message)).toEqual([
      expect.stringContaining('local/resources/intake.json already'),
    ]);
  });

  it('is shown when the file is gone, and removed with --prune', async () => {
    write('resources/intake.json', intake());
    await run(medplum, root);
    rmSync(join(root, 'resources/intake.json'));
    const shown = await run(medplum, root);
    expect(shown.lines.join('\n')).toContain(
      'Questionnaire (its file is gone; --prune removes it)',
    );
    expect(shown.writes).toEqual([]);
    expect((await run(medplum, root, { prune: true })).failed).toEqual([]);
    expect(await all(medplum, 'Questionnaire')).toEqual([]);
  });

  it('is put back by rollback, held, and released', async () => {
    write('resources/intake.json', intake());
    await run(medplum, root);
    write('resources/intake.json', intake({ title: 'Broken' }));
    await run(medplum, root);
    const call = (...args: string[]) =>
      runCommand(root, ROLLBACK, 'resources/intake.json', ...args);
    expect((await call('--list')).stdout.trim().split('\n')).toHaveLength(3);
    expect(await call('--message', 'typing error')).toMatchObject({ code: 0, stderr: '' });
    const otherPath = await runCommand(root, ROLLBACK, './resources/intake.json');
    expect(otherPath.stdout).toContain('resources/intake.json is held at');
    expect((await questionnaire()).title).toBe('Intake');
    const held = await run(medplum, root);
    expect(held.lines.join('\n')).toContain('by a rollback ("typing error")');
    expect(held.writes).toEqual([]);
    expect(await call('--release')).toMatchObject({ code: 0 });
    expect((await run(medplum, root)).changed).toEqual(['resources/intake.json']);
    expect((await questionnaire()).title).toBe('Broken');
  });
});

describe('a file that cannot be deployed', () => {
  it.each<[string, unknown, string]>([
    ['no JSON', '{', 'is not valid JSON'],
    ['no resource', { a: 1 }, 'is not a FHIR resource'],
    ['an unknown type', { resourceType: 'Questionaire' }, 'is not a FHIR resource'],
    ['a list', [], 'is not a FHIR resource'],
    ['a Bot', { resourceType: 'Bot', name: 'x' }, 'write it into medplum.config.json'],
    ['a Bundle', { resourceType: 'Bundle' }, 'write one resource to a file'],
    ['nothing to find it by', { resourceType: 'Questionnaire' }, 'needs "url", or an "identifier"'],
  ])('is named before any request: %s', (_, value, message) => {
    mkdirSync(join(root, 'resources'), { recursive: true });
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    writeFileSync(join(root, 'resources/x.json'), text);
    expect(() => loadResources(root, 'resources')).toThrow(`resources/x.json`);
    expect(() => loadResources(root, 'resources')).toThrow(message);
  });

  const identifiedBy = (identifier: unknown): object => ({
    resourceType: 'Organization',
    identifier,
  });

  it.each<[string, object | string, string]>([
    ['JSON that breaks off', '{\n  "url": 5,\n', 'x.json is not valid JSON: '],
    ['UTF-16', Buffer.from('{"a":1}', 'utf16le'), 'x.json is not UTF-8. Save it'],
    ['Latin-1', Buffer.from('{"a":"für"}', 'latin1'), 'x.json is not UTF-8. Save it'],
    ['a number for its address', intake({ url: 5 }), 'x.json needs "url"'],
    ['an empty address', intake({ url: '' }), 'x.json needs "url"'],
    ['a text for its identifier', identifiedBy('x'), 'x.json needs "url"'],
    ['null for its identifier', identifiedBy([null]), 'x.json needs "url"'],
    ['numbers in it', identifiedBy([{ system: 1, value: 2 }]), 'x.json needs "url"'],
    ['a text for meta', intake({ meta: 'x' }), 'x.json: "meta" is not as FHIR defines it.'],
    ['null for a tag', intake({ meta: { tag: [null] } }), 'x.json: "meta" is not as FHIR'],
  ])('is named in one line: %s', (_, content, message) => {
    mkdirSync(join(root, 'resources'));
    const isBytes = typeof content === 'string' || Buffer.isBuffer(content);
    writeFileSync(join(root, 'resources/x.json'), isBytes ? content : JSON.stringify(content));
    expect(() => loadResources(root, 'resources')).toThrow(message);
    expect(() => loadResources(root, 'resources')).not.toThrow('\n');
  });

  it('is a link that leads nowhere; a folder with such a name is a folder', () => {
    write('resources/forms.json/intake.json', intake());
    expect(loadResources(root, 'resources').map(({ file }) => file)).toEqual([
      'resources/forms.json/intake.json',
    ]);
    symlinkSync('nowhere', join(root, 'resources/x.json'));
    expect(() => loadResources(root, 'resources')).toThrow(
      'resources/x.json cannot be read (ENOENT).',
    );
  });

  it('has an identifier and an empty url, and is found by the identifier', async () => {
    const identifier = [{ system: 'urn:test', value: 'q' }];
    write('resources/intake.json', intake({ url: undefined, identifier }));
    expect((await run(medplum, root)).failed).toEqual([]);
    write('resources/intake.json', intake({ url: '', identifier }));
    expect((await run(medplum, root)).writes).toEqual([]);
    expect(await all(medplum, 'Questionnaire')).toHaveLength(1);
  });

  it('is the second one of a resource', () => {
    write('resources/a.json', intake());
    write('resources/b.json', intake());
    expect(() => loadResources(root, 'resources')).toThrow(
      'resources/b.json and resources/a.json are the same resource',
    );
  });
});
