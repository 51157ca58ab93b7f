// my-bot: another system calls it at /webhook/<id of its ProjectMembership>, without a login, with
// a shared secret in a header. It keeps each message once.
import type { BotEvent, MedplumClient } from '@medplum/core';
import type { Communication } from '@medplum/fhirtypes';
import { Buffer } from 'node:buffer';
import { timingSafeEqual } from 'node:crypto';

const MESSAGE_SYSTEM = 'https://example.com/messages';

interface Message {
  id?: string;
  text?: string;
}

/**
 * @param medplum - client for the project, with the rights of this bot
 * @param event - `input` is the JSON that was sent, `headers` what came with it
 * @returns whether the message was accepted; nothing else, as anyone can call a webhook
 */
export async function handler(
  medplum: MedplumClient,
  event: BotEvent<Message>,
): Promise<{ accepted: boolean }> {
  const expected = event.secrets['WEBHOOK_SECRET']?.valueString ?? '';
  const { id, text } = event.input;
  if (!isSame(headerOf(event, 'x-webhook-secret'), expected) || !id || !text) {
    return { accepted: false };
  }
  await medplum.createResourceIfNoneExist<Communication>(
    {
      resourceType: 'Communication',
      status: 'completed',
      identifier: [{ system: MESSAGE_SYSTEM, value: id }],
      payload: [{ contentString: text }],
    },
    `identifier=${MESSAGE_SYSTEM}|${id}`,
  );
  return { accepted: true };
}

/** Headers come in any case. */
function headerOf({ headers = {} }: BotEvent, name: string): string {
  const entry = Object.entries(headers).find(([key]) => key.toLowerCase() === name);
  return String(entry?.[1] ?? '');
}

/** Compares in a time that tells nothing about the secret. An empty secret matches nothing. */
function isSame(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return expected !== '' && a.length === b.length && timingSafeEqual(a, b);
}
