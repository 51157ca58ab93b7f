// The finished bundle of a bot, checked for what its runtime lacks. What lint cannot see is in here
// too: npm packages, and only the code that the bundler kept.
import { readFileSync } from 'node:fs';
import type { RuntimeVersion } from '../config/config.ts';
import type { SourcePlace } from '../runtime/source-maps.ts';
import type { Finding } from './finding.ts';
import { findFreeNames } from './free-names.ts';
import type { FreeName } from './free-names.ts';
import { packageOf } from './npm-packages.ts';
import {
  CONSOLE_HINT,
  CONSOLE_METHODS,
  ERROR_CLASSES,
  HARMLESS_PACKAGES,
  INSTANCEOF_HINT,
  VMCONTEXT_LACKS,
} from './vmcontext-globals.ts';

export interface Bundle {
  bot: string;
  code: string;
  /** Reads its source map, which is large and rarely needed. */
  readMap: () => string;
  /** Its folder, from the repository's: `dist/bots` */
  folder: string;
  /** Where it has to run. */
  runtimes: readonly RuntimeVersion[];
}

/** These exist on a Lambda, but nothing of the repository is there. */
const FOLDER_NAMES = ['__dirname', '__filename'];

/**
 * @param bundle - that esbuild wrote
 * @returns what would fail on one of its runtimes: an error in the repository's own code, a warning
 *   in a package, where nothing tells whether the bot reaches it
 */
export async function checkBundle(bundle: Bundle): Promise<Finding[]> {
  const onVmcontext = bundle.runtimes.includes('vmcontext');
  const names = onVmcontext
    ? [...Object.keys(VMCONTEXT_LACKS), ...ERROR_CLASSES, 'console']
    : FOLDER_NAMES;
  const free = await findFreeNames(bundle.code, names);
  if (free.length === 0) {
    return [];
  }
  // It loads the runtimes, which most builds do not need.
  const { sourceFinder } = await import('../runtime/source-maps.ts');
  const findSource = sourceFinder(bundle.readMap(), bundle.folder);
  const inPackages = new Map<string, { place: SourcePlace; names: Set<string> }>();
  const findings: Finding[] = [];
  for (const use of free) {
    const place = findSource(use.line, use.column);
    if (!place || isGuarded(use, place)) {
      continue;
    }
    const owner = packageOf(place.file);
    if (owner) {
      if (use.name in VMCONTEXT_LACKS && !HARMLESS_PACKAGES.has(owner.name)) {
        const label = `${owner.name} ${owner.version}`;
        const known = inPackages.get(label) ?? { place, names: new Set() };
        known.names.add(use.name);
        inPackages.set(label, known);
      }
    } else {
      findings.push(...checkOwnUse(use, place, bundle));
    }
  }
  for (const [label, { place, names: used }] of inPackages) {
    findings.push(packageFinding(label, [...used], place, bundle));
  }
  return findings;
}

/** A name that is tested with `typeof` in the same file is used where it exists only. */
function isGuarded(use: FreeName, place: SourcePlace): boolean {
  return use.isTypeof || readSource(place.file).includes(`typeof ${use.name}`);
}

const sources = new Map<string, string>();

function readSource(file: string): string {
  let text = sources.get(file);
  if (text === undefined) {
    try {
      text = readFileSync(file, 'utf8');
    } catch {
      text = '';
    }
    // A file of a package stays as it is; one of the repository may change while `npm run dev`
    // runs.
    if (file.includes('node_modules/')) {
      sources.set(file, text);
    }
  }
  return text;
}

function checkOwnUse(use: FreeName, place: SourcePlace, { bot, runtimes }: Bundle): Finding[] {
  const found = (severity: Finding['severity'], kind: string, message: string): Finding[] => [
    { severity, kind, message, ...place, bots: [bot] },
  ];
  if (use.name === 'console') {
    const method = /^\.(\w+)/.exec(use.after)?.[1] ?? '';
    return CONSOLE_METHODS.includes(method)
      ? found('error', 'vmcontext-console', `console.${method}: ${CONSOLE_HINT}`)
      : [];
  }
  if (ERROR_CLASSES.includes(use.name)) {
    return use.isInstanceof
      ? found('warning', 'vmcontext-instanceof', `instanceof ${use.name}: ${INSTANCEOF_HINT}`)
      : [];
  }
  const hint = VMCONTEXT_LACKS[use.name]!;
  if (!runtimes.includes('vmcontext')) {
    return found('error', 'no-folder', `${use.name}: ${hint}`);
  }
  return found('error', 'vmcontext', `${use.name} does not exist on vmcontext: ${hint}`);
}

function packageFinding(
  label: string,
  names: string[],
  place: SourcePlace,
  { bot, runtimes }: Bundle,
): Finding {
  const list = names.toSorted().join(', ');
  const message = runtimes.includes('vmcontext')
    ? `${label} uses ${list}, which vmcontext does not have: the bot fails where it gets there. Run it on awslambda, or use another package`
    : `${label} uses ${list}: the files of a package are not next to a bundle. If it reads one, the bot fails there`;
  return { severity: 'warning', kind: 'package-globals', message, ...place, bots: [bot] };
}
