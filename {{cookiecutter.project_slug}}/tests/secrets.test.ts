// Secrets as Medplum hands them to a bot.
import { expect, test } from 'vitest';
import { optionalSecret, requiredSecret } from '../src/shared/secrets.ts';

const secrets = {
  HAPI_BASE_URL: { name: 'HAPI_BASE_URL', valueString: 'https://hapi.example.org/fhir' },
  PORT: { name: 'PORT', valueInteger: 0 },
  STRICT: { name: 'STRICT', valueBoolean: false },
  EMPTY: { name: 'EMPTY', valueString: '' },
};

test('strings, integers and booleans come as text', () => {
  expect(requiredSecret(secrets, 'HAPI_BASE_URL')).toBe('https://hapi.example.org/fhir');
  expect(requiredSecret(secrets, 'PORT')).toBe('0');
  expect(requiredSecret(secrets, 'STRICT')).toBe('false');
});

test('an optional secret that is missing or empty is undefined', () => {
  expect(optionalSecret(secrets, 'HAPI_BEARER_TOKEN')).toBeUndefined();
  expect(optionalSecret(secrets, 'EMPTY')).toBeUndefined();
});

test('a required secret that is missing or empty is named, with the command that sets it', () => {
  expect(() => requiredSecret({}, 'HAPI_BASE_URL')).toThrow(
    /^Secret HAPI_BASE_URL is not set .*npm run secrets -- push/,
  );
  expect(() => requiredSecret(secrets, 'EMPTY')).toThrow('Secret EMPTY is not set');
});
