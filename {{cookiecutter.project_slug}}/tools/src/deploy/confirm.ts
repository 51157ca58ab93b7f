// Asks before something is written to a server that is not on this machine.
import { createInterface } from 'node:readline/promises';
import { isLocal } from '../config/address.ts';
import { bold } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';
import type { Server } from './server.ts';

export interface ConfirmOptions {
  /** Do not ask. */
  yes?: boolean;
  /** Someone else prints the lines, so no one can be asked. */
  isSilent?: boolean;
}

/**
 * @param what - `write …`, as the question says it
 * @throws UserError if the answer is no, or if no one can be asked
 */
export async function confirm(
  { yes, isSilent }: ConfirmOptions,
  { environment }: Server,
  what: string,
): Promise<void> {
  if (yes || isLocal(environment.baseUrl)) {
    return;
  }
  const where = `${environment.baseUrl} (${environment.name})`;
  if (isSilent || !process.stdin.isTTY || !process.stdout.isTTY) {
    throw new UserError(
      `Nothing was written to ${where}: there is no terminal to confirm it. ` +
        'To confirm it in advance, add: -- --yes',
    );
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl+C and Ctrl+D are a no.
  const answer = await terminal.question(`On ${bold(where)}: ${what}? [y/N] `).catch(() => '');
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) {
    throw new UserError('Nothing was written.');
  }
}
