// The imports of a TypeScript file: what they name, and where the names are in the text.
import { parseSync } from 'rolldown/utils'; // comes with vite, which parses with it

export interface ImportedName {
  /** `./helpers`, `@medplum/core` */
  specifier: string;
  /** Where the text between the quotes begins and ends. */
  start: number;
  end: number;
}

/** Functions whose first argument names a module. */
const CALLS = new Set(['require']);
const MOCKING = new Set([
  'mock',
  'doMock',
  'unmock',
  'doUnmock',
  'importActual',
  'importMock',
  'requireActual',
  'requireMock',
]);

interface Node {
  type: string;
  start: number;
  end: number;
  [member: string]: unknown;
}

/**
 * @param file - its name, which decides how it is parsed
 * @param text - of the file
 * @returns what it imports, exports from elsewhere, requires and mocks
 */
export function importsOf(file: string, text: string): ImportedName[] {
  const found: ImportedName[] = [];
  visit(parseSync(file, text).program as unknown as Node, (node) => {
    const literal = sourceOf(node);
    if (literal && typeof literal['value'] === 'string') {
      found.push({
        specifier: literal['value'],
        start: literal.start + 1,
        end: literal.end - 1,
      });
    }
  });
  return found;
}

/** The node of the name of a module, if a node imports one. */
function sourceOf(node: Node): Node | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return literalOf(node['source'] ?? node['argument']);
    case 'TSExternalModuleReference':
      return literalOf(node['expression']);
    case 'CallExpression':
      return namesModule(node['callee'] as Node)
        ? literalOf((node['arguments'] as Node[])[0])
        : undefined;
    default:
      return undefined;
  }
}

function literalOf(value: unknown): Node | undefined {
  const node = value as Node | undefined;
  if (node?.type === 'TSLiteralType') {
    return literalOf(node['literal']);
  }
  return node?.type === 'Literal' ? node : undefined;
}

/** `require(…)`, `vi.mock(…)`, `jest.requireActual(…)` */
function namesModule(callee: Node): boolean {
  if (callee.type === 'Identifier') {
    return CALLS.has(String(callee['name']));
  }
  const property = callee['property'] as Node | undefined;
  return callee.type === 'MemberExpression' && MOCKING.has(String(property?.['name']));
}

function visit(node: Node, look: (node: Node) => void): void {
  look(node);
  for (const value of Object.values(node)) {
    const children = Array.isArray(value) ? value : [value];
    for (const child of children) {
      if (typeof (child as Node | null)?.type === 'string') {
        visit(child as Node, look);
      }
    }
  }
}
