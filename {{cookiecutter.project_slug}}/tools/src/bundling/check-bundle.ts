// The finished bundle of a bot, checked for what its runtime lacks. What lint cannot see is in here
// too: npm packages, and only the code that the bundler kept.
import type { RuntimeVersion } from '../config/config.ts';
import { sourceFinder } from '../runtime/source-maps.ts';
import type { SourcePlace } from '../runtime/source-maps.ts';
import {
  CONSOLE_HINT,
  CONSOLE_METHODS,
  ERROR_CLASSES,
  INSTANCEOF_HINT,
  NODE_GLOBALS,
  NODE_GLOBALS_MODULE,
  OTHER_PLATFORMS,
  VMCONTEXT_LACKS,
} from '../runtime/vmcontext-globals.ts';
import type { Finding } from './finding.ts';
import { markFreeNames, namesIn } from './free-names.ts';
import { KnownValues } from './known-values.ts';
import { findNameUses } from './name-uses.ts';
import type { NameUse } from './name-uses.ts';
import { packageOf } from './npm-packages.ts';

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

/** A use, and where it is in the sources. */
interface PlacedUse extends NameUse {
  place: SourcePlace;
}

/** These exist on a Lambda, but nothing of the repository is there. */
const FOLDER_NAMES = ['__dirname', '__filename'];

/**
 * @param bundle - that esbuild wrote
 * @returns what would fail on one of its runtimes: an error in the repository's own code, a warning
 *   in a package, where nothing tells for sure whether the bot reaches it
 */
export async function checkBundle(bundle: Bundle): Promise<Finding[]> {
  const onVmcontext = bundle.runtimes.includes('vmcontext');
  const missing = onVmcontext ? Object.keys(VMCONTEXT_LACKS) : FOLDER_NAMES;
  const others = onVmcontext ? [...ERROR_CLASSES, 'console'] : [];
  if (namesIn(bundle.code, missing).length === 0 && !(onVmcontext && hasOtherUse(bundle.code))) {
    return [];
  }
  const marked = await markFreeNames(bundle.code, [...missing, ...others, ...OTHER_PLATFORMS]);
  const values = new KnownValues(
    marked.program,
    new Set([...missing, ...OTHER_PLATFORMS]),
    marked.freeName,
  );
  const reported = new Set([...missing, ...others]);
  const uses = findNameUses(marked, values, true).filter(({ name }) => reported.has(name));
  if (uses.length === 0) {
    return [];
  }
  const findSource = sourceFinder(bundle.readMap(), bundle.folder);
  const placed = uses.flatMap((use): PlacedUse[] => {
    const { line = 0, column = 0 } = marked.locate(use.offset) ?? {};
    const place = findSource(line, column);
    return place ? [{ ...use, place }] : [];
  });
  const own = placed.filter(({ place }) => !packageOf(place.file));
  const inPackages = placed.filter(
    ({ place, kind }) => packageOf(place.file) && kind === 'missing',
  );
  const findings = own.flatMap((use) => checkOwnUse(use, bundle));
  if (inPackages.length === 0) {
    return findings;
  }
  const reached = new Set(findNameUses(marked, values, false).map(({ offset }) => offset));
  const inReach = inPackages.filter(({ offset }) => reached.has(offset));
  return [...findings, ...packageFindings(inReach, bundle)];
}

/** Names that exist on vmcontext, but do not work there in this way. */
const OTHER_USE = new RegExp(
  String.raw`\bconsole\??\.(?:${CONSOLE_METHODS.join('|')})\b|\binstanceof (?:${ERROR_CLASSES.join('|')})\b`,
);

function hasOtherUse(code: string): boolean {
  return OTHER_USE.test(code);
}

function checkOwnUse(use: PlacedUse, { bot, runtimes }: Bundle): Finding[] {
  const { name, kind, method = '', place } = use;
  const found = (severity: Finding['severity'], rule: string, message: string): Finding[] => [
    { severity, kind: rule, message, ...place, bots: [bot] },
  ];
  if (kind === 'console') {
    return CONSOLE_METHODS.includes(method)
      ? found('error', 'vmcontext-console', `console.${method}: ${CONSOLE_HINT}`)
      : [];
  }
  if (kind === 'instanceof') {
    return found('warning', 'vmcontext-instanceof', `instanceof ${name}: ${INSTANCEOF_HINT}`);
  }
  const hint = VMCONTEXT_LACKS[name]!;
  if (!runtimes.includes('vmcontext')) {
    return found('error', 'no-folder', `${name}: ${hint}`);
  }
  return found('error', 'vmcontext', `${name} does not exist on vmcontext: ${hint}`);
}

/** One warning for each package: all names that it uses, at the place of the first. */
function packageFindings(uses: readonly PlacedUse[], bundle: Bundle): Finding[] {
  const byPackage = new Map<string, PlacedUse[]>();
  for (const use of uses) {
    const { name, version } = packageOf(use.place.file)!;
    const label = `${name} ${version}`;
    byPackage.set(label, [...(byPackage.get(label) ?? []), use]);
  }
  return [...byPackage].map(([label, group]) => {
    const [{ place }] = group as [PlacedUse];
    const names = [...new Set(group.map(({ name }) => name))].toSorted();
    const message = bundle.runtimes.includes('vmcontext')
      ? `${label} uses ${names.join(', ')}, which vmcontext does not have: ` +
        `the bot fails if it reaches that code. ${hintFor(names)}`
      : `${label} uses ${names.join(', ')}: the files of a package are not next to a bundle. ` +
        'If it reads one, the bot fails there';
    return {
      severity: 'warning',
      kind: 'package-globals',
      message,
      package: packageOf(place.file)!.name,
      ...place,
      bots: [bundle.bot],
    };
  });
}

function hintFor(names: readonly string[]): string {
  const others = names.filter((name) => !NODE_GLOBALS.has(name));
  if (others.length === names.length) {
    return 'Run it on awslambda, or use another package';
  }
  const which = others.length === 0 ? 'them' : `all but ${others.join(', ')}`;
  return (
    `Import ${NODE_GLOBALS_MODULE} before it, which provides ${which}, ` +
    'or run the bot on awslambda'
  );
}
