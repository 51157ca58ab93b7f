// Reads the secrets of the Medplum project, which a bot gets in `event.secrets`.
import type { BotEvent } from '@medplum/core';

/** `event.secrets`: secrets by name; a secret that is not set is missing (Medplum 5.1). */
export type Secrets = BotEvent['secrets'];

/**
 * Reads a secret that may be missing.
 *
 * @param secrets - `event.secrets`.
 * @param name - The secret's name, e.g. `HAPI_BEARER_TOKEN`.
 * @returns Its value as text (an integer or boolean secret too); undefined when it is not set or
 *   empty.
 * @example const token = optionalSecret(event.secrets, 'HAPI_BEARER_TOKEN');
 */
export function optionalSecret(secrets: Secrets, name: string): string | undefined {
  const secret = secrets[name];
  const value = secret?.valueString ?? secret?.valueInteger ?? secret?.valueBoolean;
  return value === undefined || value === '' ? undefined : String(value);
}

/**
 * Reads a secret that the bot cannot work without.
 *
 * @param secrets - `event.secrets`.
 * @param name - The secret's name, e.g. `HAPI_BASE_URL`.
 * @returns Its value as text.
 * @throws Error that names the secret and the command that sets it; never a value.
 * @example const baseUrl = requiredSecret(event.secrets, 'HAPI_BASE_URL');
 */
export function requiredSecret(secrets: Secrets, name: string): string {
  const value = optionalSecret(secrets, name);
  if (value === undefined) {
    const hint =
      'Write it into .env.<environment>.secrets, then: ' +
      'npm run secrets -- push .env.<environment>.secrets';
    throw new Error(`Secret ${name} is not set in this Medplum project. ${hint}`);
  }
  return value;
}
