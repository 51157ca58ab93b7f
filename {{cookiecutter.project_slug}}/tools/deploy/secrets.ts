// `npm run secrets -- push .env.staging.secrets`: adds and replaces single project secrets. Values are never printed.
import type { Project } from '@medplum/fhirtypes';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseEnv } from 'node:util';
import { UserError, green, main, readArgs, yellow } from '../cli.ts';
import { readEnvironment } from '../env.ts';
import { confirm } from './deploy.ts';
import { RequestError, connect } from './server.ts';
import type { Server } from './server.ts';

await main(async () => {
  const options = { env: { type: 'string' }, yes: { type: 'boolean' } } as const;
  const { values, positionals } = readArgs({ allowPositionals: true, options });
  const [command, file, ...more] = positionals;
  if (command !== 'push' || !file || more.length > 0) {
    throw new UserError('Write: npm run secrets -- push .env.<environment>.secrets');
  }
  const secrets = readSecrets(file);
  // The file's own name says where it belongs.
  const environment = readEnvironment(values.env ?? /^\.env\.(.+)\.secrets$/.exec(basename(file))?.[1]);
  const server = await connect(environment);
  const there = await readProject(server);
  const changed = Object.keys(secrets).filter((name) => valueOf(there, name) !== secrets[name]);
  for (const name of Object.keys(secrets)) {
    const known = there.secret?.some((secret) => secret.name === name);
    if (!changed.includes(name)) console.log(`  ${name}  unchanged`);
    else console.log(known ? `${yellow('~')} ${name}  replaced` : `${green('+')} ${name}  new`);
  }
  if (changed.length === 0) return console.log('Nothing to do.');
  await confirm(values, server, `write ${changed.length === 1 ? 'this secret' : `these ${changed.length} secrets`}`);
  await push(server, secrets);
  console.log(`${changed.length} written. Every bot of the project receives them at its next run.`);
});

function readSecrets(file: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new UserError(`${file} cannot be read. Write one NAME=value a line into it; git ignores it.`);
  }
  const secrets = parseEnv(text) as Record<string, string>;
  const empty = Object.keys(secrets).filter((name) => !secrets[name]);
  if (empty.length > 0)
    throw new UserError(`${file}: ${empty.join(', ')} has no value. Give it one, or remove the line.`);
  if (Object.keys(secrets).length === 0) throw new UserError(`${file} holds no NAME=value.`);
  return secrets;
}

/** One atomic PATCH, and only onto the list as it was read: what another client adds meanwhile is not lost. */
async function push(server: Server, secrets: Record<string, string>): Promise<void> {
  for (let tries = 1; ; tries++) {
    const project = await readProject(server);
    const list = project.secret ?? [];
    const operations = Object.entries(secrets).map(([name, valueString]) => {
      const index = list.findIndex((secret) => secret.name === name);
      const value = { name, valueString };
      return index < 0 ? { op: 'add', path: '/secret/-', value } : { op: 'replace', path: `/secret/${index}`, value };
    });
    if (!project.secret) operations.unshift({ op: 'add', path: '/secret', value: [] as never });
    const test = { op: 'test', path: '/meta/versionId', value: project.meta?.versionId };
    try {
      await server.send('PATCH', `Project/${server.environment.projectId}`, [test, ...operations]);
      return;
    } catch (error) {
      const moved = error instanceof RequestError && error.status === 400 && tries < 5;
      if (!moved || (await readProject(server)).meta?.versionId === project.meta?.versionId) throw error;
    }
  }
}

async function readProject(server: Server): Promise<Project> {
  try {
    return await server.send<Project>('GET', `Project/${server.environment.projectId}`);
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 403) throw error;
    throw new UserError('Only a project admin reads and writes secrets: these credentials are none.', { cause: error });
  }
}

function valueOf({ secret }: Project, name: string): string | undefined {
  return secret?.find((one) => one.name === name)?.valueString;
}
