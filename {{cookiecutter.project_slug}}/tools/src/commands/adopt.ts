// `npx medplum-bots adopt <folder or git address>`: brings the bots of an existing repository into
// this one.
import { Command } from 'commander';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { planAdoption, writeAdoption } from '../adopt/adopt.ts';
import type { AdoptedBot, Adoption } from '../adopt/adopt.ts';
import { SourceRepository } from '../adopt/source-repository.ts';
import { bold, dim, green, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

interface Options {
  bot: string[];
  into?: string;
  namePrefix?: string;
  folder?: string;
  dryRun?: boolean;
  install: boolean;
}

export const command = new Command('adopt')
  .description('Bring the bots of an existing repository into this one')
  .argument('<repository>', 'a folder, or the address of a git repository')
  .option('--bot <name...>', 'only these bots', [])
  .option('--into <folder>', 'a folder of their own in src/bots, src/shared and tests')
  .option('--name-prefix <text>', 'put this before the name of each bot')
  .option('--folder <path>', 'the folder of the bots in a larger git repository')
  .option('--dry-run', 'show what would be done; write nothing')
  .option('--no-install', 'do not run npm install')
  .addHelpText(
    'after',
    '\nExample: npx medplum-bots adopt ../our-bots --into billing\n' +
      'Nothing that exists is overwritten, so it can be run again. See docs/adopting.md.',
  )
  .action(adopt);

async function adopt(address: string, options: Options): Promise<void> {
  const into = checkedFolder(options.into ?? '');
  const { folder, remove } = fetchRepository(address, options.folder);
  try {
    const repository = new SourceRepository(folder);
    const adoption = planAdoption(repository, process.cwd(), {
      into,
      prefix: options.namePrefix ?? '',
      only: options.bot,
    });
    if (!options.dryRun) {
      await writeAdoption(adoption, process.cwd());
      writeTypeImports(adoption);
      printReport(adoption, options);
      if (options.install) {
        installPackages(adoption);
      }
    } else {
      printReport(adoption, options);
    }
  } finally {
    remove();
  }
}

function checkedFolder(into: string): string {
  if (into !== '' && !/^[A-Za-z0-9_-]+(\/[A-Za-z0-9_-]+)*$/.test(into)) {
    throw new UserError(
      `--into ${into}: use letters, digits, dashes and underscores, like --into billing.`,
    );
  }
  return into;
}

/** A folder as it is; a git repository as a clone without history, which is removed afterwards. */
function fetchRepository(address: string, inside = '.'): { folder: string; remove: () => void } {
  if (existsSync(address)) {
    return { folder: resolve(address, inside), remove: () => undefined };
  }
  if (!/^(https?|ssh|git|file):\/\/|^[\w.-]+@[\w.-]+:/.test(address)) {
    throw new UserError(
      `${address} does not exist. Give a folder, or the address of a git repository.`,
    );
  }
  const clone = mkdtempSync(join(tmpdir(), 'adopt-'));
  const remove = (): void => rmSync(clone, { recursive: true, force: true });
  try {
    execFileSync('git', ['clone', '--quiet', '--depth', '1', '--', address, clone], {
      stdio: 'pipe',
    });
  } catch (error) {
    remove();
    const [line = ''] = String((error as { stderr?: unknown }).stderr ?? error).split('\n');
    throw new UserError(`${address} cannot be cloned: ${line}`);
  }
  return { folder: resolve(clone, inside), remove };
}

/** @returns `zod@4.6.7`, for each package */
function packageList({ packages }: Adoption): string[] {
  return Object.entries(packages.versions).map(([name, version]) => `${name}@${version}`);
}

function installPackages(adoption: Adoption): void {
  const list = packageList(adoption);
  if (list.length === 0) {
    return;
  }
  if (npmInstall(list)) {
    return;
  }
  // A version may no longer be in the registry.
  console.log('npm could not install these versions. Trying the newest compatible ones.');
  if (!npmInstall(list.map(newestCompatible))) {
    throw new UserError(
      'The files are written, but npm could not install the packages: see above. ' +
        `Install them by hand: npm install --save-dev ${list.join(' ')}`,
    );
  }
}

/** @returns whether npm installed them */
function npmInstall(packages: readonly string[]): boolean {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const flags = ['install', '--save-dev', '--save-exact', '--no-audit', '--no-fund'];
  const { status } = spawnSync(npm, [...flags, ...packages], {
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  return status === 0;
}

/** `zod@4.6.0` -> `zod@^4.6.0`. Packages of Medplum fit together in one version only. */
function newestCompatible(entry: string): string {
  return entry.startsWith('@medplum/') ? entry : entry.replace(/@(?=[^@]*$)/, '@^');
}

/**
 * `import { Patient }` of a type becomes `import type`, which bundlers and compilers understand
 * alike.
 */
function writeTypeImports({ files }: Adoption): void {
  const written = files
    .filter(({ path, state }) => state === 'new' && /\.[cm]?ts$/.test(path))
    .map(({ path }) => path);
  if (written.length === 0) {
    return;
  }
  const oxlint = fileURLToPath(new URL('../bin/oxlint', import.meta.resolve('oxlint')));
  const rule = ['-A', 'all', '-W', 'typescript/consistent-type-imports'];
  spawnSync(process.execPath, [oxlint, '--fix', '--silent', ...rule, ...written], {
    stdio: 'ignore',
  });
}

function printReport(adoption: Adoption, options: Options): void {
  for (const bot of adoption.bots) {
    printBot(bot);
  }
  const { bots, files, packages } = adoption;
  const adopted = bots.filter(({ isAdopted }) => isAdopted);
  const open = bots.filter(({ left }) => left.length > 0);
  const written = files.filter(({ state }) => state === 'new').length;
  const verb = options.dryRun ? 'would be' : 'were';
  console.log(
    `\n${adopted.length} of ${bots.length} bots ${verb} adopted, with ${written} new files. ` +
      `Left to do for ${open.length}.`,
  );
  const list = packageList(adoption);
  if (list.length > 0) {
    const text =
      options.install && !options.dryRun ? 'Packages that are installed' : 'Packages to install';
    console.log(`${text}: npm install --save-dev ${list.join(' ')}`);
  }
  if (packages.unknown.length > 0) {
    console.log(
      'Packages to install by hand, as their package.json names no version: ' +
        `${packages.unknown.join(', ')}.`,
    );
  }
  if (!options.dryRun) {
    console.log(
      dim(
        '\nNext: npm run build && npm test. Then give each bot its accessPolicy, ' +
          'and its subscriptions or cron, in medplum.config.json: see docs/adopting.md.',
      ),
    );
  }
}

function printBot({ name, source, isAdopted, done, left }: AdoptedBot): void {
  const mark = isAdopted ? green('adopted') : yellow('left out');
  console.log(`${mark} ${bold(name)} ${dim(source)}`);
  for (const line of done) {
    console.log(`  ${line}`);
  }
  for (const line of left) {
    console.log(`  ${yellow('to do:')} ${line}`);
  }
}
