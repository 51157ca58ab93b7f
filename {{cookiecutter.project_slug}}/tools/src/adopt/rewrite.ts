// The text of an adopted file, as it has to be here: its imports, its tests' functions, its
// handler.
import { posix } from 'node:path';
import type { Layout } from './layout.ts';
import { withMocksAtTop } from './mocks.ts';
import { TEST } from './source-repository.ts';
import type { SourceRepository } from './source-repository.ts';

const TEST_FUNCTIONS = [
  'afterAll',
  'afterEach',
  'beforeAll',
  'beforeEach',
  'describe',
  'expect',
  'it',
  'test',
  'vi',
];

/**
 * @param repository - where the file comes from
 * @param file - its path there
 * @param layout - where all files go
 * @returns its text for here
 */
export function rewrite(repository: SourceRepository, file: string, layout: Layout): string {
  const place = layout.moved.get(file)!;
  let text = repository.read(file);
  const imports = repository.imports(file).toSorted((a, b) => b.start - a.start);
  for (const { target, start, end } of imports) {
    const moved = target === undefined ? undefined : layout.moved.get(target);
    if (moved !== undefined) {
      text = text.slice(0, start) + relativeImport(place, moved) + text.slice(end);
    }
  }
  if (layout.tests.has(file) && /\.[cm]?[jt]s$/.test(file)) {
    text = withMocksAtTop(file, withVitest(text));
  }
  if (TEST.test(file)) {
    text = withSetup(text, place, layout);
  }
  return withNamedHandler(text);
}

function relativeImport(from: string, to: string): string {
  // A declaration file is imported by the name of the code that it describes.
  const path = posix.relative(posix.dirname(from), to).replace(/\.d\.[cm]?ts$/, '');
  return path.startsWith('.') ? path : `./${path}`;
}

/**
 * What the configuration of the adopted repository runs before each test file, the file imports
 * itself.
 */
function withSetup(text: string, place: string, { setup, moved }: Layout): string {
  const lines = setup.map((file) => `import '${relativeImport(place, moved.get(file)!)}';\n`);
  return lines.join('') + text;
}

/** Jest's functions become vitest's, and are imported instead of global. */
function withVitest(text: string): string {
  const converted = text
    .replaceAll(/\bjest\.requireActual\(/g, 'await vi.importActual(')
    .replaceAll(/\bjest\./g, 'vi.')
    .replaceAll(/(['"])@jest\/globals\1/g, '$1vitest$1')
    .replaceAll(/(import\s*\{[^}]*)\bjest\b([^}]*\}\s*from\s*['"]vitest['"])/g, '$1vi$2');
  const imported = new Set(
    [...converted.matchAll(/import\s*\{([^}]*)\}\s*from\s*['"]vitest['"]/g)].flatMap(
      ([, list = '']) =>
        list.split(',').map(
          (name) =>
            name
              .trim()
              .replace(/^type /, '')
              .split(' ')[0],
        ),
    ),
  );
  const missing = TEST_FUNCTIONS.filter((name) => !imported.has(name) && calls(converted, name));
  if (missing.length === 0) {
    return converted;
  }
  const line = `import { ${missing.join(', ')} } from 'vitest';\n`;
  const at = Math.max(0, converted.search(/^import\b/m));
  return converted.slice(0, at) + line + converted.slice(at);
}

/** Whether a function that no import or declaration provides is called: `expect(…)`, `vi.fn(…)`. */
function calls(text: string, name: string): boolean {
  const isDeclared = new RegExp(`\\b(?:function|const|let|var) ${name}\\b`).test(text);
  return !isDeclared && new RegExp(`(?<![.\\w$'"])${name}\\s*[(.<]`).test(text);
}

/** Medplum calls the export that is named handler, not the default one. */
function withNamedHandler(text: string): string {
  return text.replace(/^export default ((?:async )?function handler\b)/m, 'export $1');
}
