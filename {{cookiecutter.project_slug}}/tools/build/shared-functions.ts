// The functions that src/shared exports: where they are, how they are documented, which bundles carry them.
import { globSync, readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { parseSync } from 'rolldown/utils'; // comes with vite, which parses with it

export interface SharedFunction {
  name: string;
  /** `src/shared/http-helpers.ts` */
  file: string;
  /** The lines of its definition, the first of the file is 1. */
  first: number;
  last: number;
  /** Names; undefined where a parameter is taken apart in its place. */
  parameters: (string | undefined)[];
  /** False where it is declared to return nothing. */
  returns: boolean;
  /** The JSDoc before it, or nothing. */
  comment: string;
}

/**
 * @param root - the repository's folder
 * @returns every exported function of src/shared, by file and line
 */
export function sharedFunctions(root: string = process.cwd()): SharedFunction[] {
  const files = globSync('src/shared/**/*.ts', { cwd: root }).map((file) => file.replaceAll('\\', '/'));
  return files.toSorted().flatMap((file) => exportedFunctions(file, readFileSync(join(root, file), 'utf8')));
}

function exportedFunctions(file: string, text: string): SharedFunction[] {
  const { program, comments } = parseSync(file, text);
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const listed = program.body.flatMap((node) => (node.type === 'ExportNamedDeclaration' ? node.specifiers : []));
  const names = new Set(listed.map(({ local }) => ('name' in local ? local.name : local.value)));
  return program.body.flatMap((node) => {
    const exported = node.type === 'ExportNamedDeclaration' || node.type === 'ExportDefaultDeclaration';
    const declaration = exported ? node.declaration : node;
    const definitions =
      declaration?.type === 'VariableDeclaration'
        ? declaration.declarations.map(({ id, init }) => ({ id, definition: init }))
        : [{ id: declaration && 'id' in declaration ? declaration.id : null, definition: declaration }];
    return definitions.flatMap(({ id, definition }): SharedFunction[] => {
      const name = id?.type === 'Identifier' ? id.name : 'default';
      if (!definition || !('params' in definition) || !(exported || names.has(name))) return [];
      const type = 'returnType' in definition ? definition.returnType : undefined;
      const before = comments.findLast(({ end }) => end <= node.start);
      const adjacent = before?.value.startsWith('*') && !text.slice(before.end, node.start).trim();
      return [
        {
          name,
          file,
          first: lineOf(node.start),
          last: lineOf(node.end),
          parameters: definition.params.map(nameOf),
          returns: !/^:\s*(void|never|asserts .*|Promise<void>)$/.test(type ? text.slice(type.start, type.end) : ''),
          comment: adjacent ? before!.value : '',
        },
      ];
    });
  });
}

/** `x`, `x = 1` and `...x` are called x. */
function nameOf(parameter: { type: string; name?: unknown; left?: unknown; argument?: unknown }): string | undefined {
  const inner = parameter.left ?? parameter.argument;
  if (inner) return nameOf(inner as typeof parameter);
  return typeof parameter.name === 'string' ? parameter.name : undefined;
}

/**
 * @param functions - of src/shared
 * @returns for each that is not documented one line: where, what is missing
 */
export function undocumented(functions: readonly SharedFunction[]): string[] {
  return functions.flatMap(({ name, file, first, comment, parameters, returns }) => {
    const documented = [...comment.matchAll(/@param\s+(?:\{.*?\}\s+)?\[?(\w+)/g)].map((match) => match[1]);
    const missing = parameters.filter((parameter, index) => !documented.includes(parameter ?? documented[index]));
    const lacks = [
      ...missing.map((parameter) => `@param ${parameter ?? '<name>'}`),
      ...(returns && !/@returns?\b/.test(comment) ? ['@returns'] : []),
    ];
    if (comment && lacks.length === 0) return [];
    const what = comment ? `${name} lacks ${lacks.join(', ')} in its JSDoc` : `${name} has no JSDoc comment`;
    return [`${file}:${first}: ${what}: whoever shares a function says what goes in and what comes out`];
  });
}

/**
 * Which functions are in a bundle, read from its source map: tree shaking leaves no line of the others.
 *
 * @param code - the bundle, not minified
 * @param map - its source map
 * @param functions - to look for
 */
export function carriedFunctions(code: string, map: string, functions: readonly SharedFunction[]): SharedFunction[] {
  const sourceMap = new SourceMap(JSON.parse(map));
  const lines = new Set<string>();
  code.split('\n').forEach((line, index) => {
    const entry = sourceMap.findEntry(index, line.search(/\S|$/));
    if ('originalSource' in entry)
      lines.add(`${entry.originalSource.replace(/^.*\/(?=src\/)/, '')}:${entry.originalLine}`);
  });
  return functions.filter(({ file, first, last }) => {
    return Array.from({ length: last - first + 1 }, (_, line) => `${file}:${first - 1 + line}`).some((at) =>
      lines.has(at),
    );
  });
}
