// What src/shared exports: where it is, how it is documented, and which bundles carry it.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from 'rolldown/utils'; // comes with vite, which parses with it
import type { Finding } from './finding.ts';

export interface SharedExport {
  name: string;
  /** `src/shared/http-helpers.ts` */
  file: string;
  /** The lines of its definition; the first of the file is 1. */
  first: number;
  last: number;
  /** The JSDoc before it, or nothing. */
  comment: string;
  /**
   * Of a function: its parameters (undefined where one is taken apart in its place), and if it
   * returns anything.
   */
  function?: { parameters: (string | undefined)[]; returns: boolean };
}

/**
 * @param root - the repository's folder
 * @returns functions, constants and classes that src/shared exports, by file and line; not what is
 *   passed on
 */
export function sharedExports(root: string = process.cwd()): SharedExport[] {
  const files = globSync('src/shared/**/*.ts', { cwd: root }).map((file) =>
    file.replaceAll('\\', '/'),
  );
  return files
    .toSorted()
    .flatMap((file) => exportsOf(file, readFileSync(join(root, file), 'utf8')));
}

function exportsOf(file: string, text: string): SharedExport[] {
  const { program, comments } = parseSync(file, text);
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;
  const listed = program.body.flatMap((node) =>
    node.type === 'ExportNamedDeclaration' ? node.specifiers : [],
  );
  const names = new Set(listed.map(({ local }) => ('name' in local ? local.name : local.value)));
  return program.body.flatMap((node) => {
    const exported =
      node.type === 'ExportNamedDeclaration' || node.type === 'ExportDefaultDeclaration';
    const declaration = exported ? node.declaration : node;
    if (!declaration || /^TS|^Import|^Export/.test(declaration.type)) {
      return [];
    }
    const parts =
      declaration.type === 'VariableDeclaration'
        ? declaration.declarations.map(({ id, init }) => ({ id, value: init }))
        : [{ id: 'id' in declaration ? declaration.id : null, value: declaration }];
    const before = comments.findLast(({ end }) => end <= node.start);
    const adjacent = before?.value.startsWith('*') && !text.slice(before.end, node.start).trim();
    return parts.flatMap(({ id, value }): SharedExport[] => {
      const name = id?.type === 'Identifier' ? id.name : 'default';
      if (!exported && !names.has(name)) {
        return [];
      }
      const found: SharedExport = {
        name,
        file,
        first: lineOf(node.start),
        last: lineOf(node.end),
        comment: '',
      };
      if (adjacent) {
        found.comment = before!.value;
      }
      if (value && 'params' in value && 'body' in value) {
        const type = value.returnType
          ? text.slice(value.returnType.start, value.returnType.end)
          : '';
        const returns = !/^:\s*(void|never|asserts .*|Promise<void>)$/.test(type);
        found.function = { parameters: value.params.map(nameOf), returns };
      }
      return [found];
    });
  });
}

/** `x`, `x = 1` and `...x` are called x. */
function nameOf(parameter: {
  type: string;
  name?: unknown;
  left?: unknown;
  argument?: unknown;
}): string | undefined {
  const inner = parameter.left ?? parameter.argument;
  if (inner) {
    return nameOf(inner as typeof parameter);
  }
  return typeof parameter.name === 'string' ? parameter.name : undefined;
}

/**
 * @param exports - of src/shared
 * @returns a warning for each function whose JSDoc does not name its parameters and its result
 */
export function undocumented(exports: readonly SharedExport[]): Finding[] {
  return exports.flatMap((shared) => {
    const missing = missingTags(shared);
    if (!shared.function || (shared.comment && missing.length === 0)) {
      return [];
    }
    const what = shared.comment
      ? `the JSDoc of ${shared.name} lacks ${missing.join(', ')}`
      : `${shared.name} has no JSDoc`;
    const message = `${what}: describe what goes in and what comes out for the bots that import it`;
    return [
      {
        severity: 'warning' as const,
        kind: 'jsdoc',
        message,
        file: shared.file,
        line: shared.first,
        bots: [],
      },
    ];
  });
}

/** The tags that the JSDoc of a function should have and has not. */
function missingTags({ comment, function: definition }: SharedExport): string[] {
  if (!definition) {
    return [];
  }
  const documented = [...comment.matchAll(/@param\s+(?:\{.*?\}\s+)?\[?(\w+)/g)].map(
    (match) => match[1],
  );
  const missing = definition.parameters.filter((parameter, index) =>
    parameter ? !documented.includes(parameter) : documented.length <= index,
  );
  const tags = missing.map((parameter) => `@param ${parameter ?? '<name>'}`);
  if (definition.returns && !/@returns?\b/.test(comment)) {
    tags.push('@returns');
  }
  return tags;
}
