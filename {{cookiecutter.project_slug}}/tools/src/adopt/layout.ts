// Where each file of an adopted repository goes: bots to src/bots, what several of them import to
// src/shared, tests beside their sources or to tests/.
import { posix } from 'node:path';
import { TEST } from './source-repository.ts';
import type { SourceRepository } from './source-repository.ts';

export interface Layout {
  /** By path in the adopted repository, the path here. */
  moved: Map<string, string>;
  /** By source of a bot, the files that it needs, itself among them. */
  closures: Map<string, Set<string>>;
  /** Tests, and what only they import. */
  tests: Set<string>;
  /** Files that run before each test file. */
  setup: string[];
}

/**
 * @param repository - that is adopted
 * @param sources - of the bots that are adopted, all of them, so that it is known what they share
 * @param into - a folder below src/bots, src/shared and tests, or ''
 */
export function planLayout(
  repository: SourceRepository,
  sources: readonly string[],
  into: string,
): Layout {
  const closures = new Map(sources.map((source) => [source, closure(repository, [source])]));
  const code = new Set([...closures.values()].flatMap((files) => [...files]));
  const testFiles = repository.files.filter(
    (file) =>
      TEST.test(file) && repository.imports(file).some(({ target }) => target && code.has(target)),
  );
  const setup = testFiles.length > 0 ? repository.setupFiles() : [];
  const tests = closure(repository, [...testFiles, ...setup]);
  for (const file of code) {
    tests.delete(file);
  }
  const botFolder = commonFolder(sources);
  const isSource = new Set(sources);
  const moved = new Map<string, string>();
  for (const file of [...code, ...tests]) {
    const users = [...closures].filter(([, files]) => files.has(file)).length;
    const isShared = code.has(file) && !isSource.has(file) && users > 1;
    moved.set(file, placeFor(file, { botFolder, into, isShared, isTest: tests.has(file) }));
  }
  return { moved, closures, tests, setup };
}

/** The files, and all of the repository that they import, directly or not. */
function closure(repository: SourceRepository, files: readonly string[]): Set<string> {
  const found = new Set<string>();
  const waiting = [...files];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (found.has(file) || !repository.has(file)) {
      continue;
    }
    found.add(file);
    waiting.push(...repository.imports(file).flatMap(({ target }) => target ?? []));
  }
  return found;
}

interface Placement {
  botFolder: string;
  into: string;
  isShared: boolean;
  isTest: boolean;
}

function placeFor(file: string, { botFolder, into, isShared, isTest }: Placement): string {
  const isBesideBots = botFolder === '' || file.startsWith(`${botFolder}/`);
  const besideBots = posix.relative(botFolder || '.', file);
  if (isShared) {
    const path = isBesideBots ? besideBots : withoutRoot(file);
    return posix.join('src/shared', into, path.replace(/^shared\//, ''));
  }
  if (isBesideBots && !/^(tests?|__tests__)\//.test(besideBots)) {
    return posix.join('src/bots', into, besideBots);
  }
  return isTest
    ? posix.join('tests', into, withoutRoot(file))
    : posix.join('src/shared', into, withoutRoot(file).replace(/^shared\//, ''));
}

/** `src/lib/text.ts` -> `lib/text.ts`, `tests/lab.test.ts` -> `lab.test.ts` */
function withoutRoot(file: string): string {
  return file.replace(/^(src|tests?|__tests__)\//, '');
}

/** The innermost folder that all files are in. */
function commonFolder(files: readonly string[]): string {
  const folders = files.map((file) => posix.dirname(file).split('/'));
  const [first = []] = folders;
  let length = first.length;
  for (const folder of folders) {
    const differs = first.findIndex((part, index) => folder[index] !== part);
    length = Math.min(length, differs < 0 ? first.length : differs, folder.length);
  }
  const common = first.slice(0, length).join('/');
  return common === '.' ? '' : common;
}
