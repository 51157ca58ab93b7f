// `npm run template -- status`: shows what became of the template's files, and whether there is a
// newer version.
import { Command } from 'commander';
import { bold } from '../terminal/output.ts';
import {
  compareFiles,
  isNewer,
  newestVersion,
  readLink,
  readManifest,
  readRenames,
} from '../template/status.ts';
import type { FileStatus } from '../template/status.ts';

export const command = new Command('template')
  .description('Compare this repository with the template it came from')
  .addHelpText('after', '\nExample: npm run template -- status');

command
  .command('status')
  .description('List the files of the template that differ, and look for a newer version')
  .addHelpText('after', '\nExample: npm run template -- status')
  .action(showStatus);

function showStatus(): void {
  const manifest = readManifest('.');
  const link = readLink('.');
  const address = link?.template ?? manifest.address;
  console.log(`Template: ${address} ${manifest.version} (${link?.commit ?? manifest.checkout})`);
  const newest = newestVersion(address);
  if (newest === undefined) {
    console.log('Its newest version is not known: the template has none yet, or no answer came.');
  } else if (isNewer(newest, manifest.version)) {
    console.log(`Version ${newest} is newer.`);
  } else {
    console.log('This is the newest version.');
  }
  console.log(
    link
      ? 'To update: uvx cruft update. See docs/updating.md.'
      : 'This repository does not follow the template yet. See docs/updating.md.',
  );
  printFiles(compareFiles('.', manifest.files, readRenames('.')));
}

function printFiles(status: FileStatus): void {
  const isTool = (path: string): boolean => path.startsWith('tools/');
  const changedTools = status.changed.filter(isTool);
  const changed = status.changed.filter((path) => !isTool(path));
  const renamed = [...status.renamed].map(([from, to]) => `${from} -> ${to}`);
  printList('Changed here; an update merges them', changed);
  printList(
    'Changed in tools/; an update replaces these folders, so expect conflicts',
    changedTools,
  );
  printList('Renamed here; an update skips them without a message', renamed);
  printList('Missing here; an update skips them without a message', status.missing);
  console.log(`\n${status.unchanged.length} files are as the template wrote them.`);
}

function printList(title: string, lines: string[]): void {
  if (lines.length > 0) {
    console.log(`\n${bold(`${title}:`)}`);
    for (const line of lines) {
      console.log(`  ${line}`);
    }
  }
}
