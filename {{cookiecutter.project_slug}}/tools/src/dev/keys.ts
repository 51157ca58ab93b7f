// Single keys that `npm run dev` listens to, where it runs in a terminal.
import { spawn } from 'node:child_process';
import { dim } from '../terminal/output.ts';

export interface Key {
  key: string;
  /** What it does, in two or three words. */
  label: string;
  press(): unknown;
}

/** What is used of a terminal. */
type Terminal = Pick<NodeJS.ReadStream, 'isTTY' | 'setRawMode' | 'setEncoding' | 'on'>;

/**
 * Listens to keys until the process ends. Ctrl+C ends it, as always.
 *
 * @param keys - see Key
 * @param input - the terminal; if it is not one, nothing happens
 */
export function listenToKeys(keys: readonly Key[], input: Terminal = process.stdin): void {
  if (!input.isTTY) {
    return;
  }
  input.setRawMode(true);
  input.setEncoding('utf8');
  input.on('data', (text: string) => {
    if (text === '\u0003') {
      process.kill(process.pid, 'SIGINT');
    }
    void keys.find(({ key }) => key === text.toLowerCase())?.press();
  });
}

/** `o open the page · r run again · …` */
export function describeKeys(keys: readonly Key[]): string {
  return dim(keys.map(({ key, label }) => `${key} ${label}`).join(' · '));
}

/** Opens an address in the browser of this desktop, if there is one. */
export function openInBrowser(address: string): void {
  const commands: Partial<Record<NodeJS.Platform, [string, ...string[]]>> = {
    darwin: ['open', address],
    win32: ['cmd', '/c', 'start', '', address],
  };
  const [program, ...values] = commands[process.platform] ?? ['xdg-open', address];
  spawn(program, values, { stdio: 'ignore', detached: true })
    .on('error', () => console.log(`Open ${address} in a browser.`))
    .unref();
}
