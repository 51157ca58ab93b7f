// `npm run logs -- [bot] [--failed]`: the last runs, with stack traces in terms of the sources.
import type { AuditEvent, Bot, Bundle } from '@medplum/fhirtypes';
import { existsSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { UserError, dim, green, main, readArgs, red, suggest } from '../cli.ts';
import { loadConfig } from '../config.ts';
import { readActual, tagOf } from '../deploy/actual.ts';
import type { Stored } from '../deploy/actual.ts';
import { connect } from '../deploy/server.ts';
import type { Server } from '../deploy/server.ts';
import { readEnvironment } from '../env.ts';

export const EXECUTIONS = 'type=https://medplum.com/CodeSystem/audit-event|execute&_sort=-_lastUpdated';

if (import.meta.main) await main(logs);

async function logs(): Promise<void> {
  const options = { env: { type: 'string' }, failed: { type: 'boolean' } } as const;
  const { values, positionals } = readArgs({ allowPositionals: true, options });
  const { identifierSystem: system } = loadConfig();
  const server = await connect(readEnvironment(values.env));
  const prefix = `${server.environment.name}/`;
  const keyOf = (bot: Bot) => bot.identifier?.find((i) => i.system === system && i.value?.startsWith(prefix))?.value;
  const ours = (await readActual(server)).bots.filter(keyOf);
  const names = ours.map((bot) => keyOf(bot)!.slice(prefix.length));
  const [wanted] = positionals;
  if (wanted && !names.includes(wanted))
    throw new UserError(`${prefix}${wanted} is not deployed.${suggest(wanted, names)}`);
  const bots = ours.filter((bot) => !wanted || keyOf(bot) === prefix + wanted);
  if (bots.length === 0) throw new UserError(`No bot of this repository is deployed to ${server.environment.name}.`);
  const query = `entity=${bots.map(({ id }) => `Bot/${id}`).join(',')}${values.failed ? '&outcome=4,8' : ''}&_count=20`;
  const found = await server.send<Bundle<AuditEvent>>('GET', `AuditEvent?${query}&${EXECUTIONS}`);
  const events = (found.entry ?? []).map((entry) => entry.resource!).toReversed();
  if (events.length === 0) console.log(values.failed ? 'No failed runs.' : 'No runs yet.');
  const histories = new Map<string, Promise<Stored<Bot>[]>>();
  for (const event of events) {
    const bot = bots.find(({ id }) => event.entity?.some(({ what }) => what?.reference === `Bot/${id}`))!;
    const failed = event.outcome !== '0';
    if (!histories.has(bot.id)) histories.set(bot.id, readHistory(server, bot.id));
    // The code it ran: the newest version of the Bot that is older than the run.
    const version = (await histories.get(bot.id)!).find(
      ({ meta }) => (meta?.lastUpdated ?? '') <= (event.recorded ?? ''),
    );
    const sha256 = tagOf(version, `${system}/deployed`);
    const name = keyOf(bot)!.slice(prefix.length);
    console.log(
      `${event.recorded}  ${name}  ${failed ? red('failed') : green('ok')}  ${dim(sha256?.slice(0, 16) ?? '')}`,
    );
    const text = event.outcomeDesc?.trimEnd() ?? '';
    const map = STACK.test(text) ? readMap(name, sha256) : undefined;
    for (const line of text ? text.split('\n') : [])
      console.log(`  ${map instanceof SourceMap ? mapFrame(line, map) : line}`);
    if (typeof map === 'string') {
      const commit = tagOf(version, `${system}/commit`);
      console.log(
        dim(
          `  (${map}${commit ? `: git checkout ${commit.replace('-dirty', '')} && npm run build -- --production` : ''})`,
        ),
      );
    }
  }
}

async function readHistory(server: Server, id: string): Promise<Stored<Bot>[]> {
  const bundle = await server.send<Bundle<Bot>>('GET', `Bot/${id}/_history?_count=1000`);
  return (bundle.entry ?? []).flatMap(({ resource }) => (resource ? [resource as Stored<Bot>] : []));
}

/** The bundle in a stack: on vmcontext a nameless script, on a Lambda user.cjs. */
const STACK = /(evalmachine\.<anonymous>|[^\s(]*user\.cjs):(\d+):(\d+)/;

/** The map of the build that ran, or why there is none. Maps stay in dist/: no server gets them. */
function readMap(name: string, sha256: string | undefined): SourceMap | string {
  const file = `dist/bots/${name}.js.map`;
  const manifest = existsSync('dist/manifest.json') ? readFileSync('dist/manifest.json', 'utf8') : '{}';
  const built = (JSON.parse(manifest) as { bots?: Record<string, { sha256: string }> }).bots?.[name]?.sha256;
  if (!sha256 || built !== sha256 || !existsSync(file))
    return 'lines are of the bundle: dist/ holds another build than the one that ran';
  return new SourceMap(JSON.parse(readFileSync(file, 'utf8')));
}

/** The same line with the place in the source in it, where the bundle's is known. */
function mapFrame(text: string, map: SourceMap): string {
  return text.replace(STACK, (place, file: string, line: string, column: string) => {
    // vmcontext puts five lines before the bundle, and two spaces before its first line [Medplum 5.1.26, bots/vmcontext.ts].
    const row = Number(line) - (file.startsWith('evalmachine') ? 5 : 0);
    const shift = file.startsWith('evalmachine') && row === 1 ? 2 : 0;
    const entry = map.findEntry(row - 1, Number(column) - 1 - shift);
    if (!('originalSource' in entry)) return place;
    return `${entry.originalSource.replace(/^(\.\.\/)+/, '')}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  });
}
