// What can go wrong with a deployment, case by case: all that the process says, its exit code, and
// what is left to be done.
import type { Bot, ProjectMembership, Subscription } from '@medplum/fhirtypes';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ADMIN, NO_ADMIN, PLAN, PROJECT, SETUP, SYSTEM } from './harness.ts';
import { all, isWrite, run, signIn, startProxiedMedplum, writeRepository } from './harness.ts';
import type { TestBot, ProxyAction, ProxiedMedplum } from './harness.ts';
import { runCommand } from '../run-command.ts';

let medplum: ProxiedMedplum;
beforeEach(async () => {
  medplum = await startProxiedMedplum();
});
afterEach(() => {
  for (const name of ['npm_config_force', 'npm_lifecycle_event']) {
    delete process.env[name];
  }
  return medplum.stop();
});

/** With the rights of its caller, or there would be a warning about its access. */
const BOT: TestBot = {
  name: 'sync-bot',
  subscriptions: [{ criteria: 'Patient' }],
  runAsUser: true,
};
const CHANGED: TestBot = { ...BOT, code: 'exports.handler = async () => 2;\n' };
const CHANGE = '~ sync-bot  code (the same sources, built differently)';
const DONE = ['1 to change.', '✓ sync-bot', 'Done: sync-bot.'];

interface Case {
  title: string;
  /**
   * Makes it so; `sync-bot` is deployed before. What `npm run setup:bots` then finds is what is
   * said here.
   */
  given: (root: string) => unknown;
  args?: string[];
  /** All lines, without the address; ids are ID. */
  says: string[];
  /**
   * What `npm run plan` says afterwards, the cause being gone: nothing is left half done without a
   * name.
   */
  left?: string[];
}

const bots = (): Promise<Bot[]> => all<Bot>(medplum, 'Bot');
const subscriptions = (): Promise<Subscription[]> => all<Subscription>(medplum, 'Subscription');
const repository = (): ProxiedMedplum['server']['repository'] => medplum.server.repository;
/**
 * Answers so to what is sent to a path that ends like this; only a few times, where these are
 * given.
 */
function answer(end: string, action: ProxyAction, times = Infinity): void {
  let given = 0;
  medplum.rule = ({ path }) => (path.endsWith(end) && given++ < times ? action : undefined);
}
const outcome = (severity: string, text: string): object => ({
  resourceType: 'OperationOutcome',
  issue: [{ severity, code: 'x', details: { text } }],
});
const change = (root: string): string => writeRepository([CHANGED], root);
const SOON = { 'Retry-After': '0' };

const CASES: Case[] = [
  {
    title: 'another project than the one that was asked for',
    given: () => signIn(medplum, ADMIN, '00000000-0000-4000-8000-000000000009'),
    says: [
      'Error: These credentials belong to project ID, but MEDPLUM_PROJECT_ID (.env.local) is ' +
        'ID. Nothing was written.',
    ],
  },
  {
    title: 'a wrong secret of the client',
    given: () => signIn(medplum, { ...ADMIN, secret: 'wrong' }),
    says: [
      'Error: HERE refused MEDPLUM_CLIENT_ID and MEDPLUM_CLIENT_SECRET (Invalid secret). ' +
        'Check .env.local.',
    ],
  },
  {
    title: 'a client that is gone',
    given: () => repository().deleteResource('ClientApplication', ADMIN.id),
    says: [
      'Error: HERE refused MEDPLUM_CLIENT_ID and MEDPLUM_CLIENT_SECRET (Invalid client). ' +
        'Check .env.local.',
    ],
  },
  {
    title: 'a token that expires in the middle',
    given: (root) => {
      change(root);
      answer('Binary', { status: 401 }, 1);
    },
    says: [CHANGE, ...DONE],
  },
  {
    title: 'a token that is never taken',
    given: () => answer(PROJECT, { status: 401, body: outcome('error', 'Unauthorized') }),
    says: ['Error: GET Project/ID was answered with 401: Unauthorized'],
  },
  {
    title: 'no right of an admin, and a bot that is there',
    given: (root) => {
      change(root);
      signIn(medplum, NO_ADMIN);
    },
    says: [
      CHANGE,
      'Warning: These credentials are not of a project admin: memberships, ' +
        'policies and secrets were not checked.',
      ...DONE,
    ],
  },
  {
    title: 'no right of an admin, and a new bot',
    given: (root) => {
      writeRepository([BOT, { name: 'new-bot', runAsUser: true }], root);
      signIn(medplum, NO_ADMIN);
    },
    says: [
      '  sync-bot  unchanged',
      '! new-bot   blocked, new, but these credentials are not of a project admin, ' +
        'and only an admin can give a bot the membership it needs to run',
      'Warning: These credentials are not of a project admin: memberships, ' +
        'policies and secrets were not checked.',
      '1 blocked, 1 unchanged.',
      'Error: new-bot: new, but these credentials are not of a project admin, ' +
        'and only an admin can give a bot the membership it needs to run.',
    ],
    left: ['  sync-bot  unchanged', '+ new-bot   new', '1 to create, 1 unchanged.'],
  },
  {
    title: 'a bot that was made by a plain POST',
    given: async (root) => {
      const identifier = [{ system: SYSTEM, value: 'local/plain-bot' }];
      await repository().createResource<Bot>({
        resourceType: 'Bot',
        name: 'plain-bot',
        timeout: 10,
        runAsUser: true,
        identifier,
      });
      writeRepository([BOT, { name: 'plain-bot', runAsUser: true }], root);
    },
    says: [
      '  sync-bot   unchanged',
      '~ plain-bot  settings (runtimeVersion: none -> awslambda), code (it has none yet), ' +
        'membership (missing: no event would run it)',
      '1 to change, 1 unchanged.',
      '✓ plain-bot',
      'Done: plain-bot.',
    ],
  },
  {
    title: 'a bot that was deleted by hand',
    given: async () => repository().deleteResource('Bot', (await bots())[0]!.id!),
    says: ['+ sync-bot  new', '1 to create.', '✓ sync-bot', 'Done: sync-bot.'],
  },
  {
    title: 'a membership that was deleted by hand',
    given: async () => {
      const reference = `Bot/${(await bots())[0]!.id}`;
      const members = await all<ProjectMembership>(medplum, 'ProjectMembership');
      const { id } = members.find(({ profile }) => profile.reference === reference)!;
      await repository().deleteResource('ProjectMembership', id!);
    },
    says: ['~ sync-bot  membership (missing: no event would run it)', ...DONE],
  },
  {
    title: 'a subscription that was edited by hand',
    given: async () => {
      const [subscription] = await subscriptions();
      await repository().updateResource({ ...subscription!, criteria: 'Task', status: 'off' });
    },
    says: ['~ sync-bot  subscription (Task -> Patient)', ...DONE],
  },
  {
    title: 'a subscription that was deleted by hand',
    given: async () => repository().deleteResource('Subscription', (await subscriptions())[0]!.id!),
    says: ['~ sync-bot  subscription (new: Patient)', ...DONE],
  },
  {
    title: 'criteria that changed',
    given: (root) => writeRepository([{ ...BOT, subscriptions: [{ criteria: 'Task' }] }], root),
    says: ['~ sync-bot  subscription (Patient -> Task)', ...DONE],
  },
  {
    title: 'a bot that was renamed',
    given: (root) => {
      const code = `exports.handler = async () => ({ by: 'sync-bot' });\n`;
      writeRepository([{ ...BOT, name: 'new-bot', previousNames: ['sync-bot'], code }], root);
    },
    says: [
      '~ new-bot  renamed (was sync-bot), settings (name: sync-bot -> new-bot), ' +
        'subscription (renamed: Patient)',
      '1 to change.',
      '✓ new-bot',
      'Done: new-bot.',
    ],
  },
  {
    title: 'an identifier that stands twice on the server',
    given: async () => {
      const { identifier } = (await bots())[0]!;
      await repository().createResource<Bot>({
        resourceType: 'Bot',
        name: 'copy',
        identifier: identifier!,
      });
    },
    says: [
      '! sync-bot  blocked, Bot/ID and Bot/ID both have the identifier local/sync-bot: ' +
        'remove it from the wrong one',
      '1 blocked.',
      'Error: sync-bot: Bot/ID and Bot/ID both have the identifier local/sync-bot: ' +
        'remove it from the wrong one.',
    ],
    left: [
      '! sync-bot  blocked, Bot/ID and Bot/ID both have the identifier local/sync-bot: ' +
        'remove it from the wrong one',
      '1 blocked.',
      'Error: sync-bot cannot be deployed.',
    ],
  },
  {
    title: 'a name that is taken by a bot from elsewhere',
    given: async (root) => {
      await repository().createResource<Bot>({ resourceType: 'Bot', name: 'new-bot' });
      writeRepository([BOT, { name: 'new-bot', runAsUser: true }], root);
    },
    says: [
      '  sync-bot  unchanged',
      '+ new-bot   new',
      'Warning: new-bot: Bot/ID has this name, too. To adopt it instead: npm run import -- ID',
      '1 to create, 1 unchanged.',
      '✓ new-bot',
      'Done: new-bot.',
    ],
  },
  {
    title: 'another repository with a bot of the same name in this project',
    given: (root) => writeRepository([BOT], root, 'urn:medplum-bots:other'),
    args: ['--prune'],
    says: ['+ sync-bot  new', '1 to create.', '✓ sync-bot', 'Done: sync-bot.'],
  },
  {
    title: '413: code that is too large for the server',
    given: (root) => {
      change(root);
      answer('Binary', { status: 413, body: outcome('error', 'File too large') });
    },
    says: [
      CHANGE,
      '1 to change.',
      'x sync-bot: POST Binary was answered with 413: File too large',
      'Error: sync-bot: POST Binary was answered with 413: File too large.',
    ],
    left: [CHANGE, '1 to change.'],
  },
  {
    title: '429 and 503 for a while',
    given: (root) => {
      change(root);
      let refused = 0;
      medplum.rule = () =>
        ++refused % 3 > 0 ? { status: refused % 2 ? 503 : 429, headers: SOON } : undefined;
    },
    says: [CHANGE, ...DONE],
  },
  {
    title: '503 that does not end',
    given: () => answer(PROJECT, { status: 503, headers: SOON }),
    says: ['Error: GET Project/ID was answered with 503: Service Unavailable'],
  },
  {
    title: '429 that begins in the middle and does not end',
    given: (root) => {
      change(root);
      answer('$deploy', {
        status: 429,
        headers: SOON,
        body: outcome('error', 'Too Many Requests'),
      });
    },
    says: [
      CHANGE,
      '1 to change.',
      'x sync-bot: POST Bot/ID/$deploy was answered with 429: Too Many Requests',
      'Error: sync-bot: POST Bot/ID/$deploy was answered with 429: Too Many Requests.',
    ],
    left: ['~ sync-bot  code (its last deployment did not finish)', '1 to change.'],
  },
  {
    title: '$deploy that warns',
    given: (root) => {
      change(root);
      answer('$deploy', { status: 200, body: outcome('warning', 'Could not find it') });
    },
    says: [
      CHANGE,
      '1 to change.',
      'x sync-bot: $deploy warned: Could not find it',
      'Error: sync-bot: $deploy warned: Could not find it.',
    ],
    left: ['~ sync-bot  code (its last deployment did not finish)', '1 to change.'],
  },
  {
    title: '$deploy that fails, beside a bot that goes well',
    given: (root) => {
      writeRepository([CHANGED, { name: 'zoo-bot', runAsUser: true }], root);
      answer('$deploy', { status: 400, body: outcome('error', 'No role') }, 1);
    },
    args: ['--concurrency', '1'],
    says: [
      CHANGE,
      '+ zoo-bot   new',
      '1 to create, 1 to change.',
      'x sync-bot: POST Bot/ID/$deploy was answered with 400: No role',
      '✓ zoo-bot',
      'Error: sync-bot: POST Bot/ID/$deploy was answered with 400: No role.',
    ],
    left: [
      '~ sync-bot  code (its last deployment did not finish)',
      '  zoo-bot   unchanged',
      '1 to change, 1 unchanged.',
    ],
  },
  {
    title: 'a bundle that was cut off after the build',
    given: (root) => {
      const bundle = join(root, 'dist/bots/sync-bot.js');
      writeFileSync(bundle, readFileSync(bundle, 'utf8').slice(0, -4));
    },
    says: [
      'Error: dist/bots/sync-bot.js is not the bundle that dist/manifest.json describes. ' +
        'Run: npm run build',
    ],
  },
  {
    title: 'an answer that would clear the terminal',
    given: (root) => {
      change(root);
      const text = '\u001B[2J\u0007all is fine';
      answer('/$deploy', { status: 400, body: outcome('error', text) });
    },
    says: [
      CHANGE,
      '1 to change.',
      'x sync-bot: POST Bot/ID/$deploy was answered with 400:  [2J all is fine',
      'Error: sync-bot: POST Bot/ID/$deploy was answered with 400:  [2J all is fine.',
    ],
    left: ['~ sync-bot  code (its last deployment did not finish)', '1 to change.'],
  },
  {
    title: 'a bundle without a handler, which the build refused',
    given: (root) =>
      writeRepository([{ ...BOT, buildErrors: ['src/bots/sync-bot.ts exports no handler'] }], root),
    says: [
      'Error: sync-bot could not be built: src/bots/sync-bot.ts exports no handler. ' +
        'Run: npm run build',
    ],
  },
  {
    title: 'a bundle that is missing',
    given: (root) => rmSync(join(root, 'dist/bots/sync-bot.js')),
    says: [
      'Error: dist/bots/sync-bot.js is missing, so sync-bot cannot be deployed. Run: npm run build',
    ],
  },
  {
    title: 'a source that was edited after the build',
    given: (root) => writeFileSync(join(root, 'src/bots/sync-bot.ts'), '// edited\n'),
    says: [
      'Error: dist/ is older than src/: src/bots/sync-bot.ts changed after the build. ' +
        'Run: npm run build -- --production',
    ],
  },
  {
    title: 'a source that was deleted after the build',
    given: (root) => rmSync(join(root, 'src/bots/sync-bot.ts')),
    says: [
      'Error: dist/ is older than src/: src/bots/sync-bot.ts changed after the build. ' +
        'Run: npm run build -- --production',
    ],
  },
  {
    title: 'a bot without an access policy',
    given: (root) => {
      writeRepository([{ ...BOT, runAsUser: undefined }, { name: 'free-bot' }], root);
    },
    says: [
      '~ sync-bot  settings (runAsUser: true -> none)',
      '+ free-bot  new',
      'Warning: Without an access policy, sync-bot, free-bot may read, ' +
        'change and delete everything in the project, other bots included. ' +
        'Add "accessPolicy" in medplum.config.json.',
      '1 to create, 1 to change.',
      '✓ sync-bot',
      '✓ free-bot',
      'Done: sync-bot, free-bot.',
    ],
  },
  {
    title: 'a bundle that is not the one that was built',
    given: (root) => writeFileSync(join(root, 'dist/bots/sync-bot.js'), 'exports.handler = 1;'),
    says: [
      'Error: dist/bots/sync-bot.js is not the bundle that dist/manifest.json describes. ' +
        'Run: npm run build',
    ],
  },
  {
    title: 'no build at all',
    given: (root) => rmSync(join(root, 'dist'), { recursive: true }),
    says: ['Error: dist/manifest.json is missing: nothing is built yet. Run: npm run build'],
  },
  {
    title: 'a secret that the project lacks',
    given: (root) => {
      writeRepository([{ ...CHANGED, secrets: ['TOKEN', { name: 'MORE', optional: true }] }], root);
    },
    says: [
      CHANGE,
      '1 to change.',
      'Error: The project has no secret TOKEN (for sync-bot). ' +
        'Write TOKEN=<value> into .env.local.secrets and run: ' +
        'npm run secrets -- push .env.local.secrets',
    ],
  },
  {
    title: 'a flag that npm swallowed',
    given: () =>
      Object.assign(process.env, { npm_config_force: 'true', npm_lifecycle_event: 'setup:bots' }),
    says: [
      'Error: npm took --force for itself. Write two dashes before it: ' +
        'npm run setup:bots -- --force',
    ],
  },
  {
    title: 'a flag that does not exist',
    given: () => undefined,
    args: ['--prun'],
    says: [
      "Error: unknown option '--prun' (Did you mean --prune?). See: npm run setup:bots -- --help",
    ],
  },
  {
    title: 'a pattern that is empty, as of a variable that is not set',
    given: () => undefined,
    args: ['--only', ''],
    says: ['Error: --only  matches no bot of medplum.config.json. There are: sync-bot.'],
  },
  {
    title: 'an environment that is empty',
    given: () => undefined,
    args: ['--env', ''],
    says: [
      'Error: "" is not a valid name for an environment: use lower-case letters, ' +
        'digits and dashes.',
    ],
  },
  {
    title: 'a pattern that fits no bot',
    given: () => undefined,
    args: ['--only', 'hpai-*'],
    says: ['Error: --only hpai-* matches no bot of medplum.config.json. There are: sync-bot.'],
  },
  {
    title: 'a configuration that does not parse',
    given: (root) => writeFileSync(join(root, 'medplum.config.json'), '{ "bots": [ }'),
    says: [
      `Error: medplum.config.json is not valid JSON: ` +
        `Unexpected token '}', "{ "bots": [ }" is not valid JSON`,
    ],
  },
  {
    title: 'a configuration with a mistake',
    given: (root) => writeRepository([{ ...BOT, timeuot: 5 }], root),
    says: [
      'Error: medplum.config.json: bots[0] (sync-bot): "timeuot" is not known. ' +
        'Did you mean "timeout"?',
    ],
  },
];

it.each(CASES)('$title', async ({ given, args = [], says, left }) => {
  const root = writeRepository([BOT]);
  await run(medplum, root);
  medplum.requests.length = 0;
  await given(root);
  const lines = (text: string): string[] => {
    const plain = text
      .replaceAll(medplum.baseUrl, 'HERE')
      .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID');
    return plain.split('\n').filter((line) => line && line !== 'local: HERE');
  };
  const { code, stdout, stderr } = await runCommand(root, SETUP, ...args);
  expect([...lines(stdout), ...lines(stderr)]).toEqual(says);
  const wentWell = says.at(-1)!.startsWith('Done: ');
  expect(code).toBe(wentWell ? 0 : 1);
  // It stopped before the plan, or the plan said why nothing can be begun.
  if (says.at(-1)!.startsWith('Error: ') && !left) {
    expect(medplum.requests.filter(isWrite)).toEqual([]);
  }
  medplum.rule = () => undefined;
  signIn(medplum, ADMIN);
  if (!wentWell && !left) {
    return;
  }
  const after = await runCommand(root, PLAN);
  if (left) {
    expect([...lines(after.stdout), ...lines(after.stderr)]).toEqual(left);
  } else {
    expect(after).toMatchObject({ code: 0, stderr: '' });
  }
});
