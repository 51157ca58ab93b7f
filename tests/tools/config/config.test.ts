// medplum.config.json: its defaults, the values of an environment, and each error with its line.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RESOURCE_TYPES } from '../../tools/src/config/resource-types.ts';
import { loadConfig, parseConfig, schemaText } from '../../tools/src/config/config.ts';
import { projectForTest } from '../project.ts';

const ROOT = join(import.meta.dirname, '../..');
const BOT = { name: 'a', source: 'src/bots/a.ts', dist: 'dist/bots/a.js' };
/** What is filled in. */
const DEFAULTS = {
  previousNames: [],
  acceptedPackages: [],
  portable: false,
  cronJobs: [],
  subscriptions: [],
  secrets: [],
  environments: [],
};
const withBots = (...bots: object[]) =>
  JSON.stringify({ identifierSystem: 'urn:medplum-bots:test', bots });

function errorsOf(text: string): string[] {
  try {
    parseConfig(text);
  } catch (error) {
    expect((error as Error).name).toBe('UserError');
    return (error as Error).message.split('\n').map((line) => {
      expect(line).toMatch(/^medplum\.config\.json/);
      return line.replace(/^medplum\.config\.json:? ?/, '');
    });
  }
  return [];
}

test('what is left out is filled in', () => {
  expect(parseConfig(withBots(BOT))).toEqual({
    identifierSystem: 'urn:medplum-bots:test',
    strictness: 'recommended',
    external: [],
    resources: 'resources',
    bots: [{ ...BOT, ...DEFAULTS, maxBytes: 1_000_000 }],
  });
});

test('existing entries stay, and short forms are written out', () => {
  const bot = {
    ...BOT,
    previousNames: ['b'],
    acceptedPackages: ['stripe'],
    description: 'A bot',
    id: '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
    runtimeVersion: 'vmcontext',
    timeout: 900,
    cron: '*/5 0-6 1,15 * 0',
    auditEventTrigger: 'on-error',
    auditEventDestination: ['resource', 'log'],
    runAsUser: true,
    maxBytes: 5,
  };
  const rules = [{ resourceType: 'Patient', readonly: true }, { resourceType: '*' }];
  const subscription = { expression: '%previous.exists()', headers: ['X-Reason: arrival'] };
  const [read] = parseConfig(
    withBots({
      ...bot,
      accessPolicy: rules,
      subscriptions: [
        { criteria: 'Patient' },
        { criteria: 'Task?status=ready', interactions: ['update'], ...subscription },
      ],
      secrets: ['HAPI_BASE_URL', { name: 'HAPI_BEARER_TOKEN', optional: true }, { name: 'X' }],
    }),
  ).bots;
  expect(read).toEqual({
    ...DEFAULTS,
    ...bot,
    accessPolicy: { kind: 'own', resources: rules, parameters: {} },
    subscriptions: [
      { criteria: 'Patient', interactions: ['create', 'update', 'delete'], preCommit: false },
      {
        criteria: 'Task?status=ready',
        interactions: ['update'],
        preCommit: false,
        ...subscription,
      },
    ],
    secrets: [
      { name: 'HAPI_BASE_URL', optional: false },
      { name: 'HAPI_BEARER_TOKEN', optional: true },
      { name: 'X', optional: false },
    ],
  });
});

describe('settings of the Bot', () => {
  const read = (members: object, environment?: string) =>
    parseConfig(withBots({ ...BOT, ...members }), environment).bots[0]!;

  test('webhooks, streaming, categories and CDS Hooks', () => {
    const settings = {
      runtimeVersion: 'fission',
      portable: true,
      publicWebhook: true,
      rawBody: true,
      streamingEnabled: true,
      system: true,
      cronTiming: { repeat: { period: 2, dayOfWeek: ['mon', 'sun'] } },
      cdsService: {
        hook: 'patient-view',
        title: 'Allergies',
        description: 'Shows allergies',
        prefetch: { patient: 'Patient/1' },
      },
    };
    const bot = read({
      ...settings,
      category: ['webhook', { coding: [{ code: 'lab' }] }],
      accessPolicy: 'Webhooks',
    });
    expect(bot).toMatchObject(settings);
    expect(bot.cronTiming?.repeat, 'FHIR asks for a unit').toHaveProperty('periodUnit', 'd');
    expect(bot.category).toEqual([{ text: 'webhook' }, { coding: [{ code: 'lab' }] }]);
  });

  test('several schedules with parameters', () => {
    const job = {
      name: 'night',
      cron: '0 3 * * *',
      parameters: { clinic: { reference: 'Organization/1' }, limit: 50 },
      end: '2027-01-31T00:00:00Z',
      onBehalfOf: 'ProjectMembership/1',
    };
    expect(read({ cronJobs: [job] }).cronJobs).toEqual([{ ...job, active: true }]);
  });

  test('subscriptions with everything that Medplum knows', () => {
    const subscription = {
      criteria: 'Patient',
      interactions: ['create'],
      expression: 'active',
      headers: ['X-Reason: arrival'],
      payload: 'application/fhir+json',
      secret: 'SIGNATURE_KEY',
      end: '2027-01-31T00:00:00Z',
      preCommit: true,
      maxAttempts: 3,
    };
    expect(read({ subscriptions: [subscription] }).subscriptions).toEqual([subscription]);
  });

  test('an access policy of its own, with fields, constraints and parameters', () => {
    const policy = {
      resources: [
        {
          resourceType: 'Task',
          criteria: 'Task?owner=%who',
          compartment: '%clinic',
          interaction: ['create', 'read', 'update'],
          hiddenFields: ['note'],
          readonlyFields: ['owner'],
          writeConstraint: ["%before.status != 'completed'"],
        },
      ],
      compartment: '%clinic',
      ipAccessRules: [{ value: '10.0.0.0/8', action: 'allow' }],
      parameters: { clinic: { reference: 'Organization/1' }, who: 'Practitioner/2' },
    };
    expect(read({ accessPolicy: policy }).accessPolicy).toEqual({ kind: 'own', ...policy });
  });

  test('an access policy that the project has, by its name', () => {
    expect(read({ accessPolicy: 'Lab bots' }).accessPolicy).toEqual({
      kind: 'existing',
      name: 'Lab bots',
      parameters: {},
    });
    const parameters = { clinic: { reference: 'Organization/1' } };
    expect(read({ accessPolicy: { policy: 'Lab bots', parameters } }).accessPolicy).toEqual({
      kind: 'existing',
      name: 'Lab bots',
      parameters,
    });
  });

  test('packages that a runtime has, beside the bot layer', () => {
    const text = JSON.stringify({
      identifierSystem: 'urn:x',
      external: ['our-layer', { package: '@aws-sdk/*', runtimes: ['awslambda'] }],
      bots: [],
    });
    expect(parseConfig(text).external).toEqual([
      { package: 'our-layer', runtimes: ['awslambda', 'vmcontext', 'fission'] },
      { package: '@aws-sdk/*', runtimes: ['awslambda'] },
    ]);
  });
});

describe('environments', () => {
  const BOTH = {
    ...BOT,
    timeout: 30,
    cron: '*/5 * * * *',
    accessPolicy: [{ resourceType: 'Patient' }],
    environments: {
      staging: { cron: null, timeout: 60 },
      production: { accessPolicy: 'Production bots', auditEventTrigger: 'on-error' },
    },
  };

  test.each([
    [undefined, { timeout: 30, cron: '*/5 * * * *', accessPolicy: { kind: 'own' } }],
    ['staging', { timeout: 60, accessPolicy: { kind: 'own' } }],
    ['production', { cron: '*/5 * * * *', accessPolicy: { name: 'Production bots' } }],
    ['local', { timeout: 30, cron: '*/5 * * * *' }],
  ])('%s', (environment, expected) => {
    const bot = parseConfig(withBots(BOTH), environment).bots[0]!;
    expect(bot).toMatchObject(expected);
    expect(bot.environments).toEqual(['staging', 'production']);
  });

  test('null removes a setting', () => {
    expect(parseConfig(withBots(BOTH), 'staging').bots[0]).not.toHaveProperty('cron');
  });

  test('each is checked, whichever one was asked for', () => {
    const bot = { ...BOT, environments: { staging: { publicWebhook: true } } };
    expect(errorsOf(withBots(bot))).toEqual([
      'bots[0].publicWebhook (a): needs an "accessPolicy": ' +
        'Medplum refuses to run a public bot without one (in the environment staging)',
    ]);
  });
});

test('the limit for all bots holds for each, unless a bot has another', () => {
  const text = JSON.stringify({
    identifierSystem: 'urn:x',
    maxBytes: 7,
    bots: [
      BOT,
      { ...BOT, name: 'b', source: 'src/bots/b.ts', dist: 'dist/bots/b.js', maxBytes: 9 },
    ],
  });
  expect(parseConfig(text).bots.map(({ maxBytes }) => maxBytes)).toEqual([7, 9]);
});

const CRON =
  'has to be five numeric fields like "*/5 * * * *" (Sunday is 0); Medplum ignores anything else';
const NAME = 'has to be letters, digits, single dashes and underscores, like "hapi-sync-bot"';
describe('an error is one line with its place and what to do', () => {
  test.each([
    [
      { subscriptons: [] },
      'bots[0] (a): "subscriptons" is not known. Did you mean "subscriptions"?',
    ],
    [{ TimeOut: 3 }, 'bots[0] (a): "TimeOut" is not known. Did you mean "timeout"?'],
    [
      { subscriptions: [{ criteria: 'Patient', interaction: ['create'] }] },
      'bots[0].subscriptions[0] (a): "interaction" is not known. Did you mean "interactions"?',
    ],
    [
      { accessPolicy: [{ resourceType: 'Patient', readOnly: true }] },
      'bots[0].accessPolicy[0] (a): "readOnly" is not known. Did you mean "readonly"?',
    ],
    [
      { accessPolicy: [{ resourceType: 'Patiant' }] },
      'bots[0].accessPolicy[0].resourceType (a): "Patiant" is not possible. ' +
        'Did you mean "Patient"?',
    ],
    [
      { subscriptions: [{ criteria: 'Patiant?active=true' }] },
      'bots[0].subscriptions[0].criteria (a): "Patiant" is not a resource type, ' +
        'so this would never run. Did you mean "Patient"?',
    ],
    [
      { subscriptions: [{ criteria: '?active=true' }] },
      'bots[0].subscriptions[0].criteria (a): "" is not a resource type, so this would never run.',
    ],
    [
      { subscriptions: [{ criteria: 'patient' }] },
      'bots[0].subscriptions[0].criteria (a): "patient" is not a resource type, ' +
        'so this would never run. Did you mean "Patient"?',
    ],
    [{ subscriptions: [{}] }, 'bots[0].subscriptions[0].criteria (a) is missing'],
    [
      { subscriptions: [{ criteria: 'Patient', interactions: ['created'] }] },
      'bots[0].subscriptions[0].interactions[0] (a): "created" is not possible. ' +
        'Did you mean "create"?',
    ],
    [
      { subscriptions: [{ criteria: 'Patient', interactions: [] }] },
      'bots[0].subscriptions[0].interactions (a): is empty: leave it out for create, ' +
        'update and delete, not []',
    ],
    [
      { subscriptions: [{ criteria: 'Patient', interactions: ['create', 'create'] }] },
      'bots[0].subscriptions[0].interactions (a): names an interaction twice',
    ],
    [
      { subscriptions: [{ criteria: 'Patient', headers: ['X-Reason'] }] },
      'bots[0].subscriptions[0].headers[0] (a): has to be a header like "X-Reason: arrival", ' +
        'not "X-Reason"',
    ],
    [
      { subscriptions: [{ criteria: 'Patient', headers: [] }] },
      'bots[0].subscriptions[0].headers (a): is empty: leave it out, not []',
    ],
    [
      {
        subscriptions: [{ criteria: 'Patient' }, { criteria: 'Patient', interactions: ['update'] }],
      },
      'bots[0].subscriptions (a): "update Patient" is in two of them: it would run twice',
    ],
    [{ description: '' }, 'bots[0].description (a): is empty: leave it out, not ""'],
    [{ cron: '* * * *' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '0 * * * * *' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '0 3 * * MON' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '0 3 * * 7' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '61 3 * * *' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '0 0 31 2 *' }, `bots[0].cron (a): ${CRON}`],
    [{ cron: '@daily' }, `bots[0].cron (a): ${CRON}`],
    [{ timeout: 901 }, 'bots[0].timeout (a): Too big: expected number to be <=900, not 901'],
    [{ timeout: '30' }, 'bots[0].timeout (a): has to be a number, not "30"'],
    [{ id: 'abc' }, 'bots[0].id (a): has to be a UUID, not "abc"'],
    [
      { runtimeVersion: 'lambda' },
      'bots[0].runtimeVersion (a): "lambda" is not possible. Possible: awslambda, vmcontext, ' +
        'fission.',
    ],
    [
      { auditEventTrigger: 'on-errors' },
      'bots[0].auditEventTrigger (a): "on-errors" is not possible. Did you mean "on-error"?',
    ],
    [
      { secrets: [3] },
      'bots[0].secrets[0] (a): has to be a name, or an object like ' +
        '{ "name": "HAPI_BEARER_TOKEN", "optional": true }, not 3',
    ],
    [{ name: 'My Bot' }, `bots[0].name (My Bot): ${NAME}, not "My Bot"`],
    [{ name: '../a' }, `bots[0].name (../a): ${NAME}, not "../a"`],
    [{ name: undefined }, 'bots[0].name is missing'],
    [
      { source: 'lib/a.ts' },
      'bots[0].source (a): has to be a TypeScript file in src/bots, ' +
        'like "src/bots/my-bot.ts", not "lib/a.ts"',
    ],
    [
      { source: 'src/bots/../a.ts' },
      'bots[0].source (a): has to be a TypeScript file in src/bots, like "src/bots/my-bot.ts"',
    ],
    [
      { accessPolicy: [{ resourceType: 'Task', readonly: true, interaction: ['read'] }] },
      'bots[0].accessPolicy[0] (a): has both "readonly" and "interaction": keep one of them',
    ],
    [
      { environments: { staging: { tiemout: 20 } } },
      'bots[0].environments.staging (a): "tiemout" is not known. Did you mean "timeout"?',
    ],
    [
      { environments: { Staging: { timeout: 20 } } },
      'bots[0].environments.Staging (a): the name has to be lower-case letters, digits and dashes',
    ],
    [
      { environments: { staging: { subscriptions: null } } },
      'bots[0].environments.staging.subscriptions (a): has to be a list, not null',
    ],
    [
      { cron: '0 3 * * *', cronTiming: { repeat: { period: 2 } } },
      'bots[0].cronTiming (a): the bot has "cron" too, which Medplum would ignore: keep one',
    ],
    [
      { cronJobs: ['0 3 * * *', '0 4 * * *'].map((cron) => ({ name: 'night', cron })) },
      'bots[0].cronJobs (a): two have the name "night"; each name is used once',
    ],
    [
      { subscriptions: [{ criteria: 'Patient', end: '2027' }] },
      'bots[0].subscriptions[0].end (a): ' +
        'has to be a date and time like "2027-01-31T00:00:00Z", not "2027"',
    ],
    [
      { secrets: [{ nme: 'x', name: 'y' }] },
      'bots[0].secrets[0] (a): "nme" is not known. Did you mean "name"?',
    ],
    [{ dist: 'dist/a.js' }, 'bots[0].dist (a): has to be "dist/bots/a.js"'],
    [{ maxBytes: 0 }, 'bots[0].maxBytes (a): Too small: expected number to be >0, not 0'],
  ])('%j', (members, line) => {
    expect(errorsOf(withBots({ ...BOT, ...members }))).toEqual([line]);
  });

  test.each([
    [
      '{\n  "bots": [,]\n}',
      [`is not valid JSON: Unexpected token ',', "{ "bots": [,] }" is not valid JSON`],
    ],
    [
      '{ "bots": [] ',
      [
        "is not valid JSON: Expected ',' or '}' after property value in JSON at position 13 " +
          '(line 1 column 14)',
      ],
    ],
    ['', ['is not valid JSON: Unexpected end of JSON input']],
    ['[]', ['has to be an object, not []']],
    [
      '{"identifierSystem":"urn:x","bots":[],"bot":1}',
      ['"bot" is not known. Did you mean "bots"?'],
    ],
    ['{"bots":[]}', ['identifierSystem is missing']],
    [
      '{"identifierSystem":"my bots","bots":[]}',
      ['identifierSystem: has to be a URI like "urn:medplum-bots:my-bots", not "my bots"'],
    ],
    [
      '{"identifierSystem":"urn:x|y","bots":[]}',
      ['identifierSystem: has to be a URI like "urn:medplum-bots:my-bots", not "urn:x|y"'],
    ],
  ])('%j', (text, lines) => {
    expect(errorsOf(text)).toEqual(lines);
  });

  test('several errors are several lines', () => {
    expect(
      errorsOf(withBots({ ...BOT, timeout: 0, cron: 'x' }, { ...BOT, name: 'b' })),
    ).toHaveLength(2);
  });

  test('a name stands for one bot only, now and before', () => {
    const b = { name: 'b', source: 'src/bots/b.ts', dist: 'dist/bots/b.js' };
    expect(errorsOf(withBots(BOT, BOT))).toEqual([
      'bots[1].name: "a" is bots[0].name too; each name is used once',
    ]);
    expect(errorsOf(withBots(BOT, { ...b, previousNames: ['a'] }))).toEqual([
      'bots[1].previousNames: "a" is bots[0].name too; each name is used once',
    ]);
    expect(
      errorsOf(withBots({ ...BOT, previousNames: ['c'] }, { ...b, previousNames: ['c'] })),
    ).toHaveLength(1);
  });

  test('a folder without configuration', () => {
    expect(() => loadConfig('/nowhere')).toThrow(
      'medplum.config.json cannot be read here: run this in the folder of the repository.',
    );
  });
});

test('the resource types are those that Medplum knows', () => {
  const text = readFileSync(
    join(ROOT, 'node_modules/@medplum/fhirtypes/dist/Resource.d.ts'),
    'utf8',
  );
  const types = [...text.matchAll(/^ {2}\| (\w+);?$/gm)].map((match) => match[1]);
  expect(types.length).toBeGreaterThan(150);
  expect(RESOURCE_TYPES).toEqual(types);
});

describe('the JSON Schema for editors', () => {
  test('is the one that medplum-bots schema writes', async () => {
    expect(readFileSync(join(ROOT, 'medplum.config.schema.json'), 'utf8')).toBe(schemaText());
    const project = projectForTest({});
    expect(await project.node('tools/bin/medplum-bots.cjs', 'schema')).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    });
    expect(readFileSync(join(project.root, 'medplum.config.schema.json'), 'utf8')).toBe(
      schemaText(),
    );
  });

  test('knows the same members as the configuration', () => {
    const { properties, additionalProperties, definitions } = JSON.parse(schemaText());
    expect(Object.keys(properties)).toEqual([
      '$schema',
      'identifierSystem',
      'strictness',
      'maxBytes',
      'external',
      'resources',
      'bots',
    ]);
    expect([additionalProperties, properties.bots.items.additionalProperties]).toEqual([
      false,
      false,
    ]);
    expect(properties.bots.items.required).toEqual(['name', 'source', 'dist']);
    expect(definitions.Subscription.required).toEqual(['criteria']);
  });

  test('is named by the repository, and its configuration is valid', () => {
    expect(JSON.parse(readFileSync(join(ROOT, 'medplum.config.json'), 'utf8')).$schema).toBe(
      './medplum.config.schema.json',
    );
    expect(() => loadConfig(ROOT)).not.toThrow();
  });
});
