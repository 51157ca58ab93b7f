// What the keys of `npm run dev` do.
import { openInBrowser } from './keys.ts';
import type { Key } from './keys.ts';
import { runLines } from './show-run.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { runAgain } from '../page/run-bot.ts';
import type { BundleMaps } from '../runtime/bundle-maps.ts';
import { dim } from '../terminal/output.ts';

/**
 * @param medplum - the local Medplum of `npm run dev`
 * @param maps - of the code that ran
 * @param open - shows an address to the user
 */
export function createKeys(
  medplum: MedplumServer,
  maps: BundleMaps,
  open: (address: string) => void = openInBrowser,
): Key[] {
  return [
    { key: 'o', label: 'open the page', press: () => open(medplum.baseUrl) },
    { key: 'r', label: 'run the last event again', press: () => runLastAgain(medplum) },
    { key: 'f', label: 'show failures', press: () => showFailures(medplum, maps) },
    { key: 'c', label: 'clear the screen', press: () => console.clear() },
    { key: 'q', label: 'quit', press: () => process.exit(0) },
  ];
}

/** Runs the bot of the latest run again, on the same event, with the code that it has now. */
async function runLastAgain(medplum: MedplumServer): Promise<void> {
  const [last] = medplum.runs.list();
  if (!last) {
    console.log(dim('Nothing has run yet.'));
    return;
  }
  await runAgain(medplum, last).catch((error: Error) => console.error(error.message));
}

/** Shows the runs that failed, the latest one last. */
function showFailures(medplum: MedplumServer, maps: BundleMaps): void {
  const failed = medplum.runs.list().filter(({ state }) => state === 'failed');
  for (const run of failed.toReversed()) {
    console.log(runLines(run, maps).join('\n'));
  }
  console.log(dim(`${failed.length} failed.`));
}
