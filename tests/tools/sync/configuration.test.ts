// What npm run build says when medplum.config.json does not fit the types that are synced.
import { expect, test } from 'vitest';
import type { SyncConfig } from '../../src/shared/sync/index.ts';
import { check } from '../../tools/src/checks/sync-configuration.ts';
import { loadConfig } from '../../tools/src/config/config.ts';

const { bots } = loadConfig();

function problems(config: Partial<SyncConfig>, changed = bots): string[] {
  const findings = check(changed, { types: ['Patient'], onDelete: 'delete', ...config });
  expect(findings.every(({ severity }) => severity === 'error')).toBe(true);
  return findings.map(({ file, message }) => `${file}: ${message}`);
}

test('the examples fit', () => {
  expect(check(bots)).toEqual([]);
  expect(problems({})).toEqual([]);
});

test('a new type: one line in the configuration, and the build says what else it needs', () => {
  expect(problems({ types: ['Patient', 'Organization'] })).toEqual([
    'medplum.config.json: hapi-sync-bot has no subscription to Organization; ' +
      'add { "criteria": "Organization", "interactions": ["create", "update", "delete"] }',
    'medplum.config.json: hapi-sync-bot may not read Organization; ' +
      'add { "resourceType": "Organization", "readonly": true } to its accessPolicy',
    'medplum.config.json: hapi-reconcile-bot may not read Organization; ' +
      'add { "resourceType": "Organization", "readonly": true } to its accessPolicy',
  ]);
});

test('a type that cannot be synced or deactivated, or is named twice', () => {
  const [provenance] = problems({ types: ['Provenance', 'Patient'] as never });
  expect(provenance).toMatch(
    /^src\/shared\/sync\/config\.ts: "Provenance" cannot be synced; supported are .*Patient/,
  );
  expect(problems({ types: ['Patient', 'Patient'] })).toContainEqual(
    expect.stringContaining('named twice'),
  );
  const [observation] = problems({ types: ['Observation'], onDelete: 'deactivate' });
  expect(observation).toContain(
    '"deactivate" is not possible for Observation, which has no "active"',
  );
});

test('a subscription to another type, access with criteria, no access to Basic', () => {
  expect(problems({ types: ['Organization'] })).toContainEqual(
    'medplum.config.json: hapi-sync-bot is subscribed to Patient, ' +
      'which is not among the types of src/shared/sync/config.ts',
  );
  const narrow = bots.map((bot) => ({
    ...bot,
    accessPolicy: {
      kind: 'own' as const,
      parameters: {},
      resources: [{ resourceType: 'Patient' as const, criteria: 'Patient?active=true' }],
    },
  }));
  expect(problems({}, narrow)).toEqual([
    'medplum.config.json: hapi-sync-bot may read Patient with criteria only; ' +
      'give it a rule without (see inScope)',
    'medplum.config.json: hapi-reconcile-bot may read Patient with criteria only; ' +
      'give it a rule without (see inScope)',
    'medplum.config.json: hapi-reconcile-bot keeps its progress in a Basic resource; ' +
      'add { "resourceType": "Basic" } to its accessPolicy',
  ]);
});

test('bots of other names, and bots that are run in another way, are left alone', () => {
  const renamed = bots.map((bot) => ({ ...bot, name: `my-${bot.name}` }));
  expect(problems({ types: ['Organization'] }, renamed)).toEqual([]);
  const unsubscribed = bots.map((bot) => ({ ...bot, subscriptions: [], accessPolicy: undefined }));
  expect(problems({ types: ['Organization'] }, unsubscribed)).toEqual([]);
});
