// What the deployment's tests share: a small repository on disk, and the local Medplum behind a
// proxy that counts requests, answers some of them itself, or ends connections.
import type { Bot, ProjectMembership, Resource, Subscription } from '@medplum/fhirtypes';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, vi } from 'vitest';
import { deploy } from '../../tools/src/deploy/deploy.ts';
import type { DeployOptions, DeployResult } from '../../tools/src/deploy/deploy.ts';
import { startMedplumServer } from '../../tools/src/medplum/server.ts';
import type { MedplumServer } from '../../tools/src/medplum/server.ts';
import { WorkerPool } from '../../tools/src/runtime/worker-pool.ts';
import { answerHeaders, forwardedHeaders, readBody } from '../forward-request.ts';

// Commands are processes, and a machine may be busy with others.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

export const PROJECT = 'a0a0a0a0-0000-4000-8000-000000000001';
export const ADMIN = {
  id: 'a0a0a0a0-0000-4000-8000-000000000002',
  secret: 'local-only-not-a-secret',
};
export const NO_ADMIN = {
  id: 'a0a0a0a0-0000-4000-8000-000000000003',
  secret: 'local-only-no-admin',
};
export const SYSTEM = 'urn:medplum-bots:test';
const ROOT = join(import.meta.dirname, '../..');

export interface TestBot {
  name: string;
  /** The body of the bundle; one that differs by name if left out. */
  code?: string;
  /** The text of its source file; a comment with its name if left out. */
  sourceText?: string;
  /** Texts of shared modules by path. */
  shared?: Record<string, string>;
  /** Why the build refused it. */
  buildErrors?: string[];
  [member: string]: unknown;
}

/** Where bots run: one for all servers of a test file, as a thread takes long to start. */
let workers: WorkerPool | undefined;
afterAll(() => workers?.stop());

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) {
    rmSync(folder, { recursive: true, force: true });
  }
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'deploy-'));
  folders.push(folder);
  return folder;
}

/** Writes medplum.config.json, src/ and dist/ as a build would. */
export function writeRepository(bots: TestBot[], root = newFolder(), system = SYSTEM): string {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  for (const folder of ['dist/bots', 'src/bots']) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
  const built: Record<string, object> = {};
  const failed: Record<string, string[]> = {};
  const entries = bots.map(({ code, sourceText, shared = {}, buildErrors, ...members }) => {
    const { name } = members;
    if (buildErrors) {
      failed[name] = buildErrors;
    }
    const text = code ?? `exports.handler = async () => ({ by: '${name}' });\n`;
    const sourceFile = `src/bots/${name}.ts`;
    const written = sourceText ?? `// ${name}\n`;
    writeFileSync(join(root, sourceFile), written);
    writeFileSync(join(root, `dist/bots/${name}.js`), text);
    const modules = Object.entries(shared).map(([path, source]) => [
      path,
      { bytes: 1, sha256: sha256(source) },
    ]);
    built[name] = {
      file: `dist/bots/${name}.js`,
      bytes: text.length,
      own: text.length,
      sha256: sha256(text),
      shared: Object.fromEntries(modules),
      sources: { [sourceFile]: sha256(written) },
    };
    return { source: sourceFile, dist: `dist/bots/${name}.js`, ...members };
  });
  writeFileSync(
    join(root, 'dist/manifest.json'),
    JSON.stringify({ production: true, bots: built, failed }),
  );
  writeFileSync(
    join(root, 'medplum.config.json'),
    JSON.stringify({ identifierSystem: system, bots: entries }, null, 2),
  );
  return root;
}

export interface Request {
  /** From 1 on. */
  number: number;
  method: string;
  /** Below fhir/R4/, with the query. */
  path: string;
  body: string;
}
/**
 * What the proxy does with a request: passes it on (undefined), answers it itself, changes the text
 * of the server's answer, or ends the connection before the server gets the request, or after the
 * server answered.
 */
export type ProxyAction =
  | undefined
  | ((answer: string) => string)
  | { status: number; body?: unknown; text?: string; headers?: Record<string, string> }
  | 'cut before'
  | 'cut after';

export interface ProxiedMedplum {
  server: MedplumServer;
  /** The proxy's address. */
  baseUrl: string;
  requests: Request[];
  /** Decides about each request. */
  rule: (request: Request) => ProxyAction | Promise<ProxyAction>;
  /** Called just before a connection is cut. */
  cutting: () => void;
  stop(): Promise<void>;
}

/** A key and its certificate for the address 0.0.0.0, valid until 2126. It protects nothing. */
const CERTIFICATE = join(import.meta.dirname, 'certificate-for-tests.pem');

/**
 * @param place - `elsewhere`: by https and the address 0.0.0.0, which does not count as this
 *   machine. Commands trust its certificate, this process does not
 */
export async function startProxiedMedplum(
  place: 'here' | 'elsewhere' = 'here',
): Promise<ProxiedMedplum> {
  workers ??= new WorkerPool();
  let answerDirectly: (request: globalThis.Request) => Response | Promise<Response>;
  const server = await startMedplumServer({
    workers,
    extend: (app) => {
      answerDirectly = (request) => app.fetch(request);
    },
  });
  const { host } = new URL(server.baseUrl);
  async function answerRequest(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    const cut = (): void => {
      medplum.cutting();
      incoming.socket.destroy();
    };
    const body = await readBody(incoming);
    const method = incoming.method ?? 'GET';
    const path = (incoming.url ?? '/').slice(1).replace(/^fhir\/R4\/?/, '');
    const request: Request = {
      number: medplum.requests.length + 1,
      method,
      path,
      body: body.toString(),
    };
    medplum.requests.push(request);
    const action = await medplum.rule(request);
    if (action === 'cut before') {
      cut();
      return;
    }
    if (typeof action === 'object') {
      const { status, text = JSON.stringify(action.body ?? {}) } = action;
      const headers = { 'Content-Type': 'application/fhir+json', ...action.headers };
      answer.writeHead(status, headers).end(status === 204 ? undefined : text);
      return;
    }
    // In this process: a second connection would take longer than the answer.
    const passed = await answerDirectly(
      new globalThis.Request(new URL(incoming.url ?? '/', server.baseUrl), {
        method,
        headers: { ...forwardedHeaders(incoming), host },
        ...(body.length > 0 && { body }),
      }),
    );
    const content = Buffer.from(await passed.arrayBuffer());
    if (action === 'cut after') {
      cut();
      return;
    }
    const sent = typeof action === 'function' ? action(content.toString()) : content;
    answer.writeHead(passed.status, answerHeaders(passed)).end(sent);
  }

  const listener: RequestListener = (incoming, answer) => void answerRequest(incoming, answer);
  const pem = readFileSync(CERTIFICATE);
  const proxy =
    place === 'here'
      ? createServer(listener)
      : createSecureServer({ key: pem, cert: pem }, listener);
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const baseUrl = place === 'here' ? `http://127.0.0.1:${port}/` : `https://0.0.0.0:${port}/`;
  process.env['NODE_EXTRA_CA_CERTS'] = CERTIFICATE;
  const medplum: ProxiedMedplum = {
    server,
    baseUrl,
    requests: [],
    rule: () => undefined,
    cutting: () => undefined,
    stop: async () => {
      proxy.closeAllConnections();
      await Promise.all([server.stop(), new Promise((resolve) => proxy.close(resolve))]);
    },
  };
  signIn(medplum, ADMIN);
  return medplum;
}

/** Sets the environment variables of this process, and of the commands it starts. */
export function signIn(
  { baseUrl }: { baseUrl: string },
  { id, secret }: typeof ADMIN,
  project = PROJECT,
): void {
  const variables = { MEDPLUM_BASE_URL: baseUrl, MEDPLUM_PROJECT_ID: project };
  Object.assign(process.env, variables, { MEDPLUM_CLIENT_ID: id, MEDPLUM_CLIENT_SECRET: secret });
}

export interface Run extends DeployResult {
  lines: string[];
  /** How many requests it sent. */
  requests: number;
  /** Of these, those that write. */
  writes: Request[];
}

/** Deploys in this process. */
export async function run(
  medplum: ProxiedMedplum,
  root: string,
  options: DeployOptions = {},
): Promise<Run> {
  const first = medplum.requests.length;
  const lines: string[] = [];
  const result = await deploy({ root, log: (line) => lines.push(line), ...options });
  const sent = medplum.requests.slice(first);
  return { ...result, lines, requests: sent.length, writes: sent.filter(isWrite) };
}

/** @returns a function that brings the server back to what it holds now */
export function snapshot({ server, requests }: ProxiedMedplum): () => void {
  const { store } = server.repository.state;
  const members = { ...store } as unknown as { contents: Map<string, Buffer> };
  const { contents, ...rest } = members;
  const saved = structuredClone(rest);
  const savedContents = new Map(contents);
  return () => {
    Object.assign(store, structuredClone(saved), { contents: new Map(savedContents) });
    requests.length = 0;
  };
}

/** Signing in and reading by batch are POSTs too. */
export function isWrite({ method, path }: Request): boolean {
  return method !== 'GET' && path !== '' && path !== 'oauth2/token';
}

/** Starts a command in a process of its own: what `npm run` starts, without the build. */
export function command(
  root: string,
  script: string,
  ...args: string[]
): { pid: number; done: Promise<CommandResult> } {
  const [file, ...words] = script.split(' ');
  const child = spawn(process.execPath, [join(ROOT, file!), ...words, ...args], {
    cwd: root,
    env: { ...process.env, NO_COLOR: '1' },
  });
  const out = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk) => (out[name] += String(chunk)));
  }
  return {
    pid: child.pid!,
    done: new Promise((resolve) => child.on('close', (code) => resolve({ code, ...out }))),
  };
}

/** Node cannot start a program in a terminal; Python can. */
const IN_TERMINAL = 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
/**
 * Runs a command in a terminal of 100 columns and 30 lines.
 *
 * @param answer - what is typed when the command asks for a confirmation
 */
export function inTerminal(
  root: string,
  answer: string,
  variables: object,
  script: string,
): Promise<CommandResult> {
  const [file, ...words] = script.split(' ');
  const line = [
    'sh',
    '-c',
    'stty cols 100 rows 30; exec "$@"',
    '-',
    process.execPath,
    join(ROOT, file!),
    ...words,
  ];
  // Node shows no colours where CI is set.
  const { NO_COLOR: _no, FORCE_COLOR: _force, CI: _ci, ...env } = process.env;
  const child = spawn('python3', ['-c', IN_TERMINAL, ...line], {
    cwd: root,
    env: { ...env, TERM: 'xterm', ...variables },
  });
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    if (!stdout.includes('[y/N]') && String(chunk).includes('[y/N]')) {
      child.stdin.write(answer);
    }
    stdout += String(chunk);
  });
  return new Promise((resolve) =>
    child.on('close', (code) => resolve({ code, stdout, stderr: '' })),
  );
}

export interface CommandResult {
  /** The exit code; null if the process was killed. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Commands: a file of the repository, and the first word of its command line. */
export const SETUP = 'scripts/setup-bots-and-subscriptions.ts';
export const PLAN = 'tools/bin/medplum-bots.cjs plan';
export const RERUN = 'tools/bin/medplum-bots.cjs rerun';
export const ROLLBACK = 'tools/bin/medplum-bots.cjs rollback';
export const SECRETS = 'tools/bin/medplum-bots.cjs secrets';
export const IMPORT = 'tools/bin/medplum-bots.cjs import';
export const DOCTOR = 'tools/bin/medplum-bots.cjs doctor';
export const LOGS = 'tools/bin/medplum-bots.cjs logs';

/** All resources of a type, as the server stores them. */
export async function all<T extends Resource>(
  medplum: ProxiedMedplum,
  resourceType: T['resourceType'],
): Promise<T[]> {
  return (await medplum.server.repository.searchResources({
    resourceType,
    count: 1000,
  } as never)) as unknown as T[];
}

/** @returns what a deployment leaves in a project, without the ids that are new each time */
export async function state(medplum: ProxiedMedplum): Promise<unknown> {
  const bots = await all<Bot>(medplum, 'Bot');
  const keyOf = (reference: string | undefined): string => {
    const bot = bots.find(({ id }) => reference === `Bot/${id}`);
    return bot?.identifier?.map(({ value }) => value).join() ?? `${reference} (unknown)`;
  };
  const policies = await all(medplum, 'AccessPolicy');
  const policyOf = (reference: string | undefined): unknown =>
    policies.find(({ id }) => reference === `AccessPolicy/${id}`);
  const strip = ({ id: _, meta, ...members }: Resource): Record<string, unknown> => ({
    ...members,
    tags: (meta?.tag ?? []).map(({ system, code }) => `${system}|${code}`).toSorted(),
  });
  const members = (await all<ProjectMembership>(medplum, 'ProjectMembership')).filter((m) =>
    m.profile.reference?.startsWith('Bot/'),
  );
  const sort = (list: unknown[]): string[] => list.map((item) => JSON.stringify(item)).toSorted();
  return {
    bots: sort(bots.map((bot) => ({ ...strip(bot), executableCode: bot.executableCode?.title }))),
    policies: sort(policies.map(strip)),
    members: sort(
      members.map((m) => [
        keyOf(m.profile.reference),
        policyOf(m.accessPolicy?.reference) ? 'with policy' : '',
      ]),
    ),
    subscriptions: sort(
      (await all<Subscription>(medplum, 'Subscription')).map((subscription) => {
        return {
          ...strip(subscription),
          channel: { ...subscription.channel, endpoint: keyOf(subscription.channel?.endpoint) },
        };
      }),
    ),
  };
}
