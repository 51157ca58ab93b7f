// Bundles bots with a given call of esbuild, checks the bundles, and writes dist/manifest.json. An
// error of one bot stops that bot only.
import type { BuildFailure, BuildResult, Message } from 'esbuild';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { RUNTIMES } from '../config/bot.ts';
import type { BotConfig, Config, RuntimeVersion } from '../config/config.ts';
import { DEFAULT_RUNTIME, runtimesOf } from '../config/runtimes.ts';
import { botsWithoutPolicy, noPolicyMessage } from '../config/warnings.ts';
import { UserError } from '../terminal/user-error.ts';
import { checkBundle } from './check-bundle.ts';
import { errorFinding, warningFinding } from './esbuild-messages.ts';
import { asErrors, describe, errorsByBot, mergeFindings, withoutAccepted } from './finding.ts';
import type { Finding } from './finding.ts';
import { checkContents, describeBundle } from './inspect-bundle.ts';
import type { Inputs, SourceHashes } from './inspect-bundle.ts';
import type { BundleInfo, Manifest } from './manifest.ts';
import { checkSourceFiles } from './source-files.ts';

type Result = BuildResult<{ metafile: true }>;

/** Calls esbuild for some bots of one runtime; it writes `<name>.js` and `<name>.js.map`. */
export type BuildBots = (bots: readonly BotConfig[], runtime: RuntimeVersion) => Promise<Result>;

export interface BundleOptions {
  /** Where to write. */
  outdir: string;
  /** Whether the bundles are minified. */
  production: boolean;
  /** Whether a bundle larger than its maxBytes is an error; it is if left out. */
  checkSize?: boolean;
}

export interface BuiltBots extends Manifest {
  /** Warnings. */
  findings: Finding[];
  /** By bot, the source files that its bundle was made of. */
  sources: Map<string, string[]>;
}

/** Some bots could not be built. The others are in dist, and in its manifest. */
export class BuildError extends UserError {
  override name = 'UserError';
  readonly findings: Finding[];
  readonly built: BuiltBots;

  constructor(findings: Finding[], built: BuiltBots) {
    const errors = findings.filter(({ severity }) => severity === 'error');
    super(errors.map(describe).join('\n'));
    this.findings = findings;
    this.built = built;
  }
}

/**
 * @param config - of the repository
 * @param options - where to write, and how
 * @param buildBots - the call of esbuild
 * @returns what was built; also written to manifest.json next to `outdir`
 * @throws BuildError if a bot could not be built, after all others were
 */
export async function bundleBots(
  config: Config,
  { outdir, production, checkSize = true }: BundleOptions,
  buildBots: BuildBots,
): Promise<BuiltBots> {
  const findings = [...checkPolicies(config.bots), ...checkSourceFiles(config.bots)];
  const missing = new Set(
    findings.filter(({ kind }) => kind === 'missing-source').flatMap(({ bots }) => bots),
  );
  const present = config.bots.filter(({ name }) => !missing.has(name));
  const groups = RUNTIMES.map((runtime) => ({
    runtime,
    bots: present.filter((bot) => (bot.runtimeVersion ?? DEFAULT_RUNTIME) === runtime),
  }));
  const inputs = new Map<string, Inputs>();
  await Promise.all(
    groups
      .filter(({ bots }) => bots.length > 0)
      .map(async ({ runtime, bots }) => {
        for (const built of await buildGroup(bots, runtime, buildBots)) {
          findings.push(...built.findings);
          built.inputs.forEach((files, name) => inputs.set(name, files));
        }
      }),
  );
  const infos = await inspectAll(config.bots, outdir, inputs, findings);
  const relevant = findings.filter(({ kind }) => checkSize || kind !== 'too-large');
  const open = withoutAccepted(relevant, config.bots);
  const graded = config.strictness === 'strict' ? asErrors(open) : open;
  const built: BuiltBots = {
    production,
    bots: Object.fromEntries(infos),
    failed: {},
    findings: mergeFindings(graded),
    sources: new Map(config.bots.map((bot) => [bot.name, Object.keys(inputs.get(bot.name) ?? {})])),
  };
  return settle(built, outdir);
}

/** @returns a warning if there are bots that may do anything in the project */
function checkPolicies(bots: readonly BotConfig[]): Finding[] {
  const names = botsWithoutPolicy(bots).map(({ name }) => name);
  if (names.length === 0) {
    return [];
  }
  const message = noPolicyMessage(names);
  return [{ severity: 'warning', kind: 'no-access-policy', message, bots: names }];
}

/**
 * @param run - builds
 * @returns what was built, whether or not there were errors: they are among its findings
 */
export async function withoutThrowing(
  run: () => Promise<BuiltBots> | BuiltBots,
): Promise<BuiltBots> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof BuildError) {
      return { ...error.built, findings: error.findings };
    }
    throw error;
  }
}

/**
 * Takes the bots with errors out of dist and out of the manifest.
 *
 * @param built - what was bundled, with all findings so far
 * @param outdir - where the bundles are
 * @returns the same without those bots
 * @throws BuildError if there is an error
 */
export function settle(built: BuiltBots, outdir: string): BuiltBots {
  const errors = errorsByBot(built.findings);
  const bots = Object.entries(built.bots).filter(([name]) => !errors.has(name));
  const failed = [...errors].map(([name, found]) => [name, found.map(describe)] as const);
  const settled: BuiltBots = {
    ...built,
    bots: Object.fromEntries(bots),
    failed: Object.fromEntries(failed),
  };
  removeOtherFiles(
    outdir,
    bots.map(([name]) => name),
  );
  writeManifest(settled, join(dirname(outdir), 'manifest.json'));
  if (built.findings.some(({ severity }) => severity === 'error')) {
    throw new BuildError(built.findings, settled);
  }
  return settled;
}

/** Bundles of bots that no longer exist, or that have errors, must not be deployed by accident. */
function removeOtherFiles(outdir: string, names: readonly string[]): void {
  const wanted = new Set(names.flatMap((name) => [`${name}.js`, `${name}.js.map`]));
  for (const file of existsSync(outdir) ? readdirSync(outdir) : []) {
    if (!wanted.has(file)) {
      rmSync(join(outdir, file), { recursive: true });
    }
  }
}

function writeManifest({ production, bots, failed }: Manifest, file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ production, bots, failed }, null, 2)}\n`);
}

interface GroupResult {
  inputs: Map<string, Inputs>;
  findings: Finding[];
}

/**
 * All bots of a runtime in one call, which reads what they share once. If that fails, each bot
 * alone.
 */
async function buildGroup(
  bots: readonly BotConfig[],
  runtime: RuntimeVersion,
  buildBots: BuildBots,
): Promise<GroupResult[]> {
  try {
    return [groupResult(bots, await buildBots(bots, runtime))];
  } catch (failure) {
    const errors = errorsOf(failure);
    if (bots.length === 1) {
      const names = bots.map(({ name }) => name);
      return [{ inputs: new Map(), findings: errors.map((error) => errorFinding(error, names)) }];
    }
    const single = await Promise.all(bots.map((bot) => buildGroup([bot], runtime, buildBots)));
    return single.flat();
  }
}

function errorsOf(failure: unknown): Message[] {
  const { errors } = failure as Partial<BuildFailure>;
  if (!errors) {
    throw failure;
  }
  return errors;
}

function groupResult(bots: readonly BotConfig[], { metafile, warnings }: Result): GroupResult {
  const outputs = new Map(
    Object.entries(metafile.outputs).map(([path, output]) => [basename(path), output.inputs]),
  );
  const inputs = new Map(bots.map((bot) => [bot.name, outputs.get(`${bot.name}.js`)!]));
  const findings = warnings.flatMap((warning) => {
    const file = warning.location?.file ?? '';
    const carriers = bots.filter((bot) => (inputs.get(bot.name)![file]?.bytesInOutput ?? 0) > 0);
    if (carriers.length === 0) {
      return [];
    }
    const onVmcontext = carriers.some((bot) => runtimesOf(bot).includes('vmcontext'));
    const names = carriers.map(({ name }) => name);
    return warningFinding(warning, names, onVmcontext) ?? [];
  });
  return { inputs, findings };
}

async function inspectAll(
  bots: readonly BotConfig[],
  outdir: string,
  inputs: ReadonlyMap<string, Inputs>,
  findings: Finding[],
): Promise<Map<string, BundleInfo>> {
  const infos = new Map<string, BundleInfo>();
  const hashes: SourceHashes = new Map();
  const botSources = new Set(bots.map(({ source }) => source));
  const folder = outdir.replaceAll('\\', '/');
  for (const bot of bots) {
    const files = inputs.get(bot.name);
    if (!files) {
      continue;
    }
    const contents = readFileSync(join(outdir, `${bot.name}.js`));
    const code = contents.toString();
    const info = describeBundle(bot, `${folder}/${bot.name}.js`, contents, files, hashes);
    infos.set(bot.name, info);
    findings.push(...checkContents(bot, code, info.bytes, files, botSources));
    const readMap = (): string => readFileSync(join(outdir, `${bot.name}.js.map`), 'utf8');
    const bundle = { bot: bot.name, code, readMap, folder, runtimes: runtimesOf(bot) };
    findings.push(...(await checkBundle(bundle)));
  }
  return infos;
}
