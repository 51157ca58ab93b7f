// How commands find a local Medplum that another command of this repository started, on any port.
// Its client secret is new each time, and is kept where only this user can read it.
import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isLocal } from './address.ts';

/** In the repository's own node_modules: a shared temporary folder is not private. */
const FOLDER = join('node_modules', '.cache', 'medplum-bots', 'local-servers');

export interface RunningServer {
  /** With a slash at the end. */
  baseUrl: string;
  projectId: string;
  clientId: string;
  clientSecret: string;
  /** Of the process that serves. */
  pid: number;
}

/**
 * Writes down a local Medplum for other commands to find.
 *
 * @returns removes the note again
 */
export function noteRunningServer(server: Omit<RunningServer, 'pid'>): () => void {
  const file = join(FOLDER, `${new URL(server.baseUrl).port}.json`);
  mkdirSync(FOLDER, { recursive: true, mode: 0o700 });
  rmSync(file, { force: true }); // its mode would stay
  writeFileSync(file, JSON.stringify({ ...server, pid: process.pid }), { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

/**
 * @param baseUrl - undefined: the one that was started last
 * @returns the local Medplum that runs, if there is one
 */
export function findRunningServer(baseUrl: string | undefined): RunningServer | undefined {
  const port = URL.parse(baseUrl ?? '')?.port;
  const running = notedServers().filter(({ pid }) => isRunning(pid));
  return baseUrl === undefined
    ? running[0]
    : running.find((server) => new URL(server.baseUrl).port === port && isLocal(baseUrl));
}

/** The one that was started last comes first. */
function notedServers(): RunningServer[] {
  let files: string[];
  try {
    files = readdirSync(FOLDER).map((name) => join(FOLDER, name));
  } catch {
    return []; // none was ever started
  }
  const notes = files.flatMap((file) => readNote(file) ?? []);
  return notes.toSorted((a, b) => b.time - a.time).map(({ server }) => server);
}

/** @returns undefined for a note that is incomplete, or was removed as its server ended */
function readNote(file: string): { server: RunningServer; time: number } | undefined {
  try {
    const server = JSON.parse(readFileSync(file, 'utf8')) as RunningServer;
    return { server, time: statSync(file).mtimeMs };
  } catch {
    return undefined;
  }
}

/** Whether there is a process with this id. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch {
    return false;
  }
}
