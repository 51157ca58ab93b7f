// A deployment from start to end, against the local server over HTTP.
import type {
  AccessPolicy,
  Bot,
  Project,
  ProjectMembership,
  Subscription,
} from '@medplum/fhirtypes';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ADMIN,
  NO_ADMIN,
  PROJECT,
  SYSTEM,
  all,
  run,
  signIn,
  startProxiedMedplum,
  state,
  writeRepository,
} from './harness.ts';
import type { TestBot, ProxiedMedplum } from './harness.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => medplum.stop());

const SYNC: TestBot = {
  name: 'hapi-sync-bot',
  description: 'Keeps it in step',
  runtimeVersion: 'vmcontext',
  timeout: 30,
  shared: { 'src/shared/http-helpers.ts': '1', 'src/shared/retry.ts': '1' },
  subscriptions: [
    { criteria: 'Patient' },
    { criteria: 'Task', interactions: ['create', 'update'], headers: ['X-A: b'] },
  ],
  accessPolicy: [{ resourceType: 'Patient', readonly: true }],
};
const bot = async (name: string): Promise<Bot> => {
  const found = (await all<Bot>(medplum, 'Bot')).filter(({ identifier }) =>
    identifier?.some(({ value }) => value === `local/${name}`),
  );
  expect(found, `bots with the identifier of ${name}`).toHaveLength(1);
  return found[0]!;
};
const lineOf = (lines: string[], name: string): string | undefined =>
  lines.find((line) => line.slice(2).startsWith(name));
const tags = (bot: Bot | undefined, kind: string): (string | undefined)[] =>
  (bot?.meta?.tag ?? [])
    .filter(({ system }) => system === `${SYSTEM}/${kind}`)
    .map(({ code }) => code);

describe('a first deployment', () => {
  it('makes the bot, its membership with its policy, and its subscriptions', async () => {
    const result = await run(medplum, writeRepository([SYNC]));
    expect(result).toMatchObject({ changed: ['hapi-sync-bot'], failed: [] });
    expect(lineOf(result.lines, 'hapi-sync-bot')).toBe('+ hapi-sync-bot  new');
    const made = await bot('hapi-sync-bot');
    expect(made).toMatchObject({ name: 'hapi-sync-bot', runtimeVersion: 'vmcontext', timeout: 30 });
    expect(made.executableCode?.title).toMatch(/^hapi-sync-bot\.[0-9a-f]{16}\.cjs$/);
    const [policy] = (await all<AccessPolicy>(medplum, 'AccessPolicy')).filter(
      ({ name }) => name === 'local/hapi-sync-bot',
    );
    expect(policy?.resource).toEqual([{ resourceType: 'Patient', readonly: true }]);
    const members = (await all<ProjectMembership>(medplum, 'ProjectMembership')).filter(
      ({ profile }) => profile.reference === `Bot/${made.id}`,
    );
    expect(members.map(({ accessPolicy }) => accessPolicy?.reference)).toEqual([
      `AccessPolicy/${policy?.id}`,
    ]);
    const subscriptions = await all<Subscription>(medplum, 'Subscription');
    const said = subscriptions
      .map((subscription) =>
        [
          subscription.criteria,
          ...(subscription.extension ?? []).map(({ valueCode }) => valueCode),
        ].join(' '),
      )
      .toSorted();
    expect(said).toEqual(['Patient', 'Task create', 'Task update']);
    expect(subscriptions.every(({ channel }) => channel?.endpoint === `Bot/${made.id}`)).toBe(true);
    expect(subscriptions.find(({ criteria }) => criteria === 'Task')?.channel?.header).toEqual([
      'X-A: b',
    ]);
  });

  it('makes a bot that runs on its event', async () => {
    await run(medplum, writeRepository([{ ...SYNC, accessPolicy: undefined }]));
    const ran = new Promise<{ bot: { name?: string }; success?: boolean }>((resolve) => {
      medplum.server.events.on('run', (done) => resolve(done as never));
    });
    await medplum.server.repository.createResource({ resourceType: 'Patient' });
    expect(JSON.stringify(await ran)).toContain('hapi-sync-bot');
  });

  it('says where it runs, as Medplum fills that in for no bot and then never runs it', async () => {
    const root = writeRepository([{ name: 'plain-bot' }]);
    await run(medplum, root);
    const { runtimeVersion, ...without } = await bot('plain-bot');
    expect(runtimeVersion).toBe('awslambda');
    await medplum.server.repository.updateResource(without as Bot);
    const { lines } = await run(medplum, root);
    expect(lineOf(lines, 'plain-bot')).toBe(
      '~ plain-bot  settings (runtimeVersion: none -> awslambda), code (deployed again: ' +
        'runtimeVersion changed)',
    );
    await medplum.server.repository.updateResource({
      ...(await bot('plain-bot')),
      runtimeVersion: 'vmcontext',
    });
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('marks the Bot with its modules, so that a search finds the bots of a module', async () => {
    await run(
      medplum,
      writeRepository([SYNC, { name: 'other-bot', shared: { 'src/shared/http-helpers.ts': '2' } }]),
    );
    const shared = tags(await bot('hapi-sync-bot'), 'shared');
    expect(shared).toEqual([
      expect.stringMatching(/^http-helpers@[0-9a-f]{12}$/),
      expect.stringMatching(/^retry@/),
    ]);
    const filters = [{ code: '_tag', operator: 'eq', value: `${SYSTEM}/shared|${shared[0]}` }];
    const carriers = await medplum.server.repository.searchResources({
      resourceType: 'Bot',
      filters,
    } as never);
    expect(carriers.map((bot) => (bot as Bot).name)).toEqual(['hapi-sync-bot']);
  });
});

describe('the commit on a Bot', () => {
  it('is the one that its code was built from, and says where files differed from it', async () => {
    const root = writeRepository([SYNC]);
    const git = (...args: string[]): string =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
    git('init', '--quiet');
    git('config', 'user.email', 'x@example.com');
    git('config', 'user.name', 'x');
    git('add', '.');
    git('commit', '--quiet', '--message', 'first');
    await run(medplum, root);
    const first = git('rev-parse', 'HEAD');
    expect(tags(await bot('hapi-sync-bot'), 'commit')).toEqual([first]);
    git('commit', '--quiet', '--allow-empty', '--message', 'second');
    expect((await run(medplum, root)).writes).toEqual([]);
    writeRepository([{ ...SYNC, code: 'exports.handler = async () => 2;\n' }], root);
    await run(medplum, root);
    expect(tags(await bot('hapi-sync-bot'), 'commit')).toEqual([
      `${git('rev-parse', 'HEAD')}-dirty`,
    ]);
  });
});

describe('a second deployment', () => {
  it.each([1, 40, 400])(
    'of %i unchanged bots writes nothing and needs at most five requests',
    { timeout: 120_000 },
    async (count) => {
      const names = Array.from({ length: count }, (_, index) => `bot-${index}`);
      const root = writeRepository(
        names.map((name) => ({ ...SYNC, name, subscriptions: [{ criteria: 'Patient' }] })),
      );
      expect((await run(medplum, root)).failed).toEqual([]);
      const again = await run(medplum, root);
      expect(again.writes).toEqual([]);
      expect(again.unchanged).toHaveLength(count);
      expect(again.requests).toBeLessThanOrEqual(5);
    },
  );

  it('says which shared module changed, and writes only the bots that carry it', async () => {
    const bots = [SYNC, { name: 'plain-bot' }];
    await run(medplum, writeRepository(bots));
    const root = writeRepository([
      {
        ...SYNC,
        code: 'exports.handler = async () => 2;\n',
        shared: { ...SYNC.shared, 'src/shared/retry.ts': '2' },
      },
      bots[1]!,
    ]);
    const { lines, changed } = await run(medplum, root);
    expect(changed).toEqual(['hapi-sync-bot']);
    expect(lineOf(lines, 'hapi-sync-bot')).toBe(
      '~ hapi-sync-bot  code (src/shared/retry.ts changed)',
    );
  });

  it('names changed settings, removes old ones, and deploys what a Lambda needs', async () => {
    await run(medplum, writeRepository([{ ...SYNC, cron: '0 3 * * *' }]));
    const { lines } = await run(medplum, writeRepository([{ ...SYNC, timeout: 60 }]));
    expect(lineOf(lines, 'hapi-sync-bot')).toBe(
      '~ hapi-sync-bot  settings (cronString: 0 3 * * * -> none, timeout: 30 -> 60), ' +
        'code (deployed again: timeout changed)',
    );
    expect(await bot('hapi-sync-bot')).not.toHaveProperty('cronString');
    expect((await bot('hapi-sync-bot')).timeout).toBe(60);
  });

  it('sets the timeout back to 10 seconds when it is removed from the configuration', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { timeout: _, ...without } = SYNC;
    const { lines } = await run(medplum, writeRepository([without as TestBot]));
    expect(lineOf(lines, 'hapi-sync-bot')).toBe(
      '~ hapi-sync-bot  settings (timeout: 30 -> 10), code (deployed again: timeout changed)',
    );
    expect((await bot('hapi-sync-bot')).timeout).toBe(10);
  });

  it('updates a subscription whose criteria change, and keeps the others', async () => {
    await run(medplum, writeRepository([SYNC]));
    const before = await all<Subscription>(medplum, 'Subscription');
    const { lines } = await run(
      medplum,
      writeRepository([
        {
          ...SYNC,
          subscriptions: [
            { criteria: 'Practitioner' },
            ...(SYNC['subscriptions'] as object[]).slice(1),
          ],
        },
      ]),
    );
    expect(lineOf(lines, 'hapi-sync-bot')).toBe(
      '~ hapi-sync-bot  subscription (Patient -> Practitioner)',
    );
    const after = await all<Subscription>(medplum, 'Subscription');
    expect(after.map(({ id }) => id).toSorted()).toEqual(before.map(({ id }) => id).toSorted());
    expect(after.map(({ criteria }) => criteria).toSorted()).toEqual([
      'Practitioner',
      'Task',
      'Task',
    ]);
  });

  it('puts right a subscription that was edited or switched off by hand', async () => {
    const root = writeRepository([SYNC]);
    await run(medplum, root);
    const clean = await state(medplum);
    const [first, second] = await all<Subscription>(medplum, 'Subscription');
    await medplum.server.repository.updateResource({ ...first!, status: 'off' });
    await medplum.server.repository.updateResource({
      ...second!,
      channel: { ...second!.channel!, endpoint: 'Bot/deleted-bot' },
    });
    const { lines } = await run(medplum, root);
    expect(lineOf(lines, 'hapi-sync-bot')).toContain('was off: ');
    expect(lineOf(lines, 'hapi-sync-bot')).toContain('channel changed');
    expect(await state(medplum)).toEqual(clean);
  });

  it('adopts a subscription that does the same, and names one that does not', async () => {
    await run(medplum, writeRepository([{ ...SYNC, subscriptions: [] }]));
    const { id } = await bot('hapi-sync-bot');
    const channel = { type: 'rest-hook' as const, endpoint: `Bot/${id}` };
    for (const criteria of ['Patient', 'Encounter']) {
      await medplum.server.repository.createResource({
        resourceType: 'Subscription',
        status: 'active',
        reason: 'by hand',
        criteria,
        channel,
      });
    }
    const { lines } = await run(
      medplum,
      writeRepository([{ ...SYNC, subscriptions: [{ criteria: 'Patient' }] }]),
    );
    expect(await all<Subscription>(medplum, 'Subscription')).toHaveLength(2);
    expect(lines.join('\n')).toMatch(
      /Warning: hapi-sync-bot: Subscription\/\S+ \(Encounter\) starts it, too/,
    );
  });

  it('creates a bot that was deleted by hand, with its subscriptions and policy', async () => {
    const root = writeRepository([SYNC]);
    await run(medplum, root);
    const clean = (await state(medplum)) as { members: string[] };
    await medplum.server.repository.deleteResource('Bot', (await bot('hapi-sync-bot')).id!);
    expect((await run(medplum, root)).failed).toEqual([]);
    const now = (await state(medplum)) as { members: string[] };
    // A deletion leaves the membership behind; doctor names it.
    const members = now.members.filter((member) => !member.includes('unknown'));
    expect({ ...now, members }).toEqual(clean);
  });

  it('follows a rename without deploying the code again', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { id } = await bot('hapi-sync-bot');
    const code = (await bot('hapi-sync-bot')).executableCode?.title;
    const root = writeRepository([
      {
        ...SYNC,
        name: 'patient-sync-bot',
        previousNames: ['hapi-sync-bot'],
        code: `exports.handler = async () => ({ by: 'hapi-sync-bot' });\n`,
        sourceText: '// hapi-sync-bot\n',
      },
    ]);
    const { lines, failed } = await run(medplum, root);
    expect(failed).toEqual([]);
    expect(lineOf(lines, 'patient-sync-bot')).toContain('renamed (was hapi-sync-bot)');
    expect(lineOf(lines, 'patient-sync-bot')).not.toContain('code (');
    const renamed = await bot('patient-sync-bot');
    expect([renamed.id, renamed.executableCode?.title]).toEqual([id, code]);
    expect(await all<Subscription>(medplum, 'Subscription')).toHaveLength(3);
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('shows what the configuration no longer has, and removes it with --prune', async () => {
    await run(
      medplum,
      writeRepository([
        SYNC,
        {
          name: 'old-bot',
          subscriptions: [{ criteria: 'Task' }],
          accessPolicy: [{ resourceType: 'Task' }],
        },
      ]),
    );
    const kept = writeRepository([{ ...SYNC, subscriptions: [{ criteria: 'Patient' }] }]);
    const shown = await run(medplum, kept);
    expect(lineOf(shown.lines, 'old-bot')).toContain('no longer in medplum.config.json');
    expect(lineOf(shown.lines, 'hapi-sync-bot')).toContain(
      'no longer wanted: Task, create; --prune removes it',
    );
    expect(shown.writes).toEqual([]);
    const { failed } = await run(medplum, kept, { prune: true });
    expect(failed).toEqual([]);
    const clean = await startProxiedMedplum();
    await run(clean, kept);
    const wanted = await state(clean);
    await clean.stop();
    expect(await state(medplum)).toEqual(wanted);
  });

  it('leaves with --prune a bot that another repository has adopted', async () => {
    await run(medplum, writeRepository([SYNC]));
    const made = await bot('hapi-sync-bot');
    const theirs = { system: 'urn:medplum-bots:other', value: 'local/hapi-sync-bot' };
    await medplum.server.repository.updateResource({
      ...made,
      identifier: [...made.identifier!, theirs],
    });
    const { lines, writes } = await run(medplum, writeRepository([]), { prune: true });
    expect(lineOf(lines, 'hapi-sync-bot')).toMatch(
      /no longer in medplum\.config\.json \(.*, Bot\); it is still running, started by Patient; .*; it also has the identifier urn:medplum-bots:other\|local\/hapi-sync-bot, so it stays: /,
    );
    expect(writes).toEqual([]);
  });

  it('removes a bot with all that starts it; without an admin it only shows them', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { id } = await bot('hapi-sync-bot');
    const channel = { type: 'rest-hook' as const, endpoint: `Bot/${id}` };
    await medplum.server.repository.createResource({
      resourceType: 'Subscription',
      status: 'active',
      reason: 'by hand',
      criteria: 'Task',
      channel,
    });
    const nothing = writeRepository([]);
    signIn(medplum, NO_ADMIN);
    const shown = await run(medplum, nothing, { prune: true });
    expect(lineOf(shown.lines, 'hapi-sync-bot')).toContain('only a project admin can remove it');
    expect(shown.writes).toEqual([]);
    signIn(medplum, ADMIN);
    expect((await run(medplum, nothing, { prune: true })).failed).toEqual([]);
    expect([await all(medplum, 'Bot'), await all(medplum, 'Subscription')]).toEqual([[], []]);
  });

  it('with --only touches no other bot', async () => {
    const root = writeRepository([SYNC, { name: 'other-bot' }]);
    const { changed, lines } = await run(medplum, root, { only: 'hapi-*' });
    expect(changed).toEqual(['hapi-sync-bot']);
    expect(lineOf(lines, 'other-bot')).toBeUndefined();
    await expect(run(medplum, root, { only: 'hpai-*' })).rejects.toThrow(
      '--only hpai-* matches no bot',
    );
  });

  it('with --force deploys unchanged code again', async () => {
    const root = writeRepository([SYNC]);
    await run(medplum, root);
    const { lines, writes } = await run(medplum, root, { force: true });
    expect(lineOf(lines, 'hapi-sync-bot')).toBe('~ hapi-sync-bot  code (deployed again: --force)');
    expect(writes.some(({ path }) => path.endsWith('/$deploy'))).toBe(true);
  });

  it('takes the bot that "id" names, and gives it the identifier', async () => {
    const made = await medplum.server.repository.createResource<Bot>({
      resourceType: 'Bot',
      name: 'Old Sync',
    });
    const { lines, failed } = await run(medplum, writeRepository([{ ...SYNC, id: made.id }]));
    expect(failed).toEqual([]);
    expect(lineOf(lines, 'hapi-sync-bot')).toContain('adopted (identifier added)');
    expect((await bot('hapi-sync-bot')).id).toBe(made.id);
  });

  it('follows a bot that "id" names to another name', async () => {
    const { id } = await medplum.server.repository.createResource<Bot>({
      resourceType: 'Bot',
      name: 'Old Sync',
    });
    await run(medplum, writeRepository([{ ...SYNC, id }]));
    const before = await all<Subscription>(medplum, 'Subscription');
    const root = writeRepository([{ ...SYNC, name: 'patient-sync-bot', id }]);
    const { lines, failed } = await run(medplum, root, { prune: true });
    expect(failed).toEqual([]);
    expect(lineOf(lines, 'patient-sync-bot')).toContain('renamed (was hapi-sync-bot)');
    expect((await bot('patient-sync-bot')).identifier).toHaveLength(1);
    const after = await all<Subscription>(medplum, 'Subscription');
    expect(after.map((resource) => resource.id).toSorted()).toEqual(
      before.map((resource) => resource.id).toSorted(),
    );
    expect((await run(medplum, root)).writes).toEqual([]);
  });

  it('keeps two repositories and two environments of one project apart', async () => {
    await run(medplum, writeRepository([SYNC]));
    const other = writeRepository([SYNC], undefined, 'urn:medplum-bots:other');
    expect((await run(medplum, other, { prune: true })).changed).toEqual(['hapi-sync-bot']);
    expect((await run(medplum, other, { prune: true, environment: 'staging' })).changed).toEqual([
      'hapi-sync-bot',
    ]);
    expect(await all<Bot>(medplum, 'Bot')).toHaveLength(3);
    expect(await all<Subscription>(medplum, 'Subscription')).toHaveLength(9);
    expect((await run(medplum, writeRepository([SYNC]), { prune: true })).writes).toEqual([]);
  });

  it('stays away from a bot that carries the same identifier twice', async () => {
    const identifier = [{ system: SYSTEM, value: 'local/hapi-sync-bot' }];
    for (const name of ['one', 'two']) {
      await medplum.server.repository.createResource<Bot>({
        resourceType: 'Bot',
        name,
        identifier,
      });
    }
    const { failed, changed, writes } = await run(
      medplum,
      writeRepository([SYNC, { name: 'other-bot' }]),
    );
    expect(changed).toEqual(['other-bot']);
    expect(failed).toEqual([
      {
        name: 'hapi-sync-bot',
        message: expect.stringMatching(/^Bot\/\S+ and Bot\/\S+ both have the identifier/),
      },
    ]);
    expect(writes.map(({ body }) => body).join()).not.toContain('local/hapi-sync-bot');
  });
});

describe('a name that stands twice', () => {
  it('as a previous one: neither of the two is renamed or removed', async () => {
    const identifier = [{ system: SYSTEM, value: 'local/old-bot' }];
    for (const name of ['one', 'two']) {
      await medplum.server.repository.createResource<Bot>({
        resourceType: 'Bot',
        name,
        identifier,
      });
    }
    const root = writeRepository([{ ...SYNC, previousNames: ['old-bot'] }]);
    const { failed, writes } = await run(medplum, root, { prune: true });
    expect(failed.map(({ message }) => message)).toEqual([
      expect.stringMatching(
        /^Bot\/\S+ and Bot\/\S+ both have the identifier local\/old-bot: remove it/,
      ),
    ]);
    expect(writes).toEqual([]);
  });

  it('under an old and a new name keep their resources; --prune removes the old one', async () => {
    await run(medplum, writeRepository([{ ...SYNC, name: 'old-bot' }, SYNC]));
    const root = writeRepository([{ ...SYNC, previousNames: ['old-bot'] }]);
    expect(lineOf((await run(medplum, root)).lines, 'old-bot')).toContain(
      'no longer in medplum.config.json',
    );
    expect((await run(medplum, root, { prune: true })).failed).toEqual([]);
    expect((await all<Bot>(medplum, 'Bot')).map(({ name }) => name)).toEqual(['hapi-sync-bot']);
    expect(await all<Subscription>(medplum, 'Subscription')).toHaveLength(3);
  });

  it('says so where another tool has deployed other code since', async () => {
    const root = writeRepository([SYNC]);
    await run(medplum, root);
    const made = await bot('hapi-sync-bot');
    await medplum.server.repository.updateResource({
      ...made,
      executableCode: { ...made.executableCode, title: 'index.js' },
    } as Bot);
    const { lines } = await run(medplum, root);
    expect(lineOf(lines, 'hapi-sync-bot')).toBe(
      '~ hapi-sync-bot  code (another tool deployed index.js since)',
    );
  });
});

describe('what another client does at the same time', () => {
  it('is kept: an edit of the Bot between the code and the mark', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { id } = await bot('hapi-sync-bot');
    medplum.rule = async ({ path }) => {
      if (path.endsWith('/$deploy')) {
        await medplum.server.repository.patchResource('Bot', id!, [
          { op: 'add', path: '/category', value: [{ text: 'theirs' }] },
        ]);
      }
      return undefined;
    };
    expect(
      (
        await run(
          medplum,
          writeRepository([{ ...SYNC, code: 'exports.handler = async () => 2;\n' }]),
        )
      ).failed,
    ).toEqual([]);
    expect(await bot('hapi-sync-bot')).toMatchObject({ category: [{ text: 'theirs' }] });
  });

  it('is not marked as deployed: other code that arrived before the mark', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { id, executableCode } = await bot('hapi-sync-bot');
    const theirs = [
      {
        op: 'replace' as const,
        path: '/executableCode',
        value: { ...executableCode, title: 'theirs.js' },
      },
    ];
    medplum.rule = async ({ path }) => {
      if (path.endsWith('/$deploy')) {
        await medplum.server.repository.patchResource('Bot', id!, theirs);
      }
      return undefined;
    };
    const root = writeRepository([{ ...SYNC, code: 'exports.handler = async () => 2;\n' }]);
    expect((await run(medplum, root)).failed).toEqual([
      { name: 'hapi-sync-bot', message: expect.stringContaining('changed by another client') },
    ]);
    expect(tags(await bot('hapi-sync-bot'), 'deployed')).toEqual([]);
  });

  it('stops the bot with a word: a build between the plan and its first request', async () => {
    const root = writeRepository([SYNC]);
    const dist = 'dist/bots/hapi-sync-bot.js';
    const { failed } = await run(medplum, root, {
      log: () => writeFileSync(join(root, dist), 'exports.handler = async () => 3;'),
    });
    expect(failed).toEqual([
      {
        name: 'hapi-sync-bot',
        message: `${dist} was built again after the plan was made. Run it again`,
      },
    ]);
    expect(await all(medplum, 'Bot')).toEqual([]);
  });

  it('stops the bot with a word: an edit between the plan and the first write', async () => {
    await run(medplum, writeRepository([SYNC]));
    const { id } = await bot('hapi-sync-bot');
    medplum.rule = async ({ path }) => {
      if (path === 'Binary') {
        await medplum.server.repository.patchResource('Bot', id!, [
          { op: 'replace', path: '/timeout', value: 99 },
        ]);
      }
      return undefined;
    };
    const { failed } = await run(medplum, writeRepository([{ ...SYNC, timeout: 60 }]));
    expect(failed).toEqual([
      {
        name: 'hapi-sync-bot',
        message: `Bot/${id} was changed by another client. That was not overwritten: run it again`,
      },
    ]);
    expect((await bot('hapi-sync-bot')).timeout).toBe(99);
  });

  it('ends the same where it is another run of this deployment', async () => {
    const root = writeRepository([SYNC, { name: 'other-bot' }]);
    const clean = await startProxiedMedplum();
    await run(clean, root);
    const wanted = await state(clean);
    await clean.stop();
    signIn(medplum, ADMIN);
    const both = await Promise.all([run(medplum, root), run(medplum, root)]);
    expect(both.map(({ failed }) => failed)).toEqual([[], []]);
    expect(await state(medplum)).toEqual(wanted);
  });
});

describe('nothing is written', () => {
  const nothing = async (root: string, message: string | RegExp, options = {}): Promise<void> => {
    const before = medplum.requests.length;
    await expect(run(medplum, root, options)).rejects.toThrow(message);
    const writes = medplum.requests
      .slice(before)
      .filter(({ method, path }) => method !== 'GET' && path !== '' && path !== 'oauth2/token');
    expect(writes).toEqual([]);
  };

  it('where more subscriptions than the server looks at would be active', async () => {
    for (let index = 0; index < 998; index++) {
      await medplum.server.repository.createResource({
        resourceType: 'Subscription',
        status: 'active',
        reason: 'x',
        criteria: 'Task',
        channel: { type: 'rest-hook', endpoint: 'https://example.com' },
      });
    }
    await nothing(
      writeRepository([SYNC]),
      'The project has 998 active subscriptions and would have 1001',
    );
  });

  it('where the project has no bots', async () => {
    const project = await medplum.server.repository.readResource<Project>('Project', PROJECT);
    await medplum.server.repository.updateResource({ ...project, features: ['cron'] });
    await nothing(writeRepository([SYNC]), 'lacks the feature "bots"');
  });
});

describe('a server in trouble', () => {
  it('that answers something that is not Medplum is named', async () => {
    medplum.rule = () => ({ status: 200, body: 'hello' });
    await expect(run(medplum, writeRepository([SYNC]))).rejects.toThrow(
      'does not answer as Medplum does',
    );
  });

  it('takes code of more than 1 MB', async () => {
    const code = `exports.handler = async () => 1;\n//${'x'.repeat(1_500_000)}`;
    expect((await run(medplum, writeRepository([{ ...SYNC, code }]))).failed).toEqual([]);
    expect((await bot('hapi-sync-bot')).executableCode?.title).toMatch(/cjs$/);
  });
});
