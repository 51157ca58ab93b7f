// Calls of vi.mock in an adopted test. Vitest runs them before the imports wherever they are, and
// since version 5 refuses a file that has one inside a function such as the callback of `describe`.
import { parseSync } from 'rolldown/utils'; // comes with vite, which parses with it
import { childrenOf, identifierName, isFunction, memberName } from '../bundling/syntax.ts';
import type { Syntax } from '../bundling/syntax.ts';

/**
 * @param file - its name, which says how to parse it
 * @param text - of a test
 * @returns the same with the calls of vi.mock after the imports
 */
export function withMocksAtTop(file: string, text: string): string {
  if (!text.includes('vi.mock(')) {
    return text;
  }
  const { program, errors } = parseSync(file, text);
  if (errors.length > 0) {
    return text;
  }
  const mocks = nestedMocks(program as unknown as Syntax);
  if (mocks.length === 0) {
    return text;
  }
  const lastImport = program.body.findLast(({ type }) => type === 'ImportDeclaration');
  const moved = mocks.map((mock) => withoutIndentation(text, mock)).join('\n');
  let rest = text;
  for (const { start, end } of mocks.toReversed()) {
    rest = rest.slice(0, lineStart(rest, start)) + rest.slice(end).replace(/^\s*\n/, '');
  }
  const at = lastImport?.end ?? 0;
  return `${rest.slice(0, at)}\n\n${moved}${rest.slice(at)}`;
}

/** The statements inside functions, in their order. */
function nestedMocks(node: Syntax, isInFunction = false): Syntax[] {
  if (isInFunction && node.type === 'ExpressionStatement' && isMock(node)) {
    return [node];
  }
  const isInside = isInFunction || isFunction(node);
  return childrenOf(node).flatMap((child) => nestedMocks(child, isInside));
}

function isMock(statement: Syntax): boolean {
  const call = statement['expression'] as Syntax;
  const callee = call.type === 'CallExpression' ? (call['callee'] as Syntax) : undefined;
  return (
    callee?.type === 'MemberExpression' &&
    identifierName(callee['object'] as Syntax) === 'vi' &&
    memberName(callee) === 'mock'
  );
}

function lineStart(text: string, offset: number): number {
  return text.lastIndexOf('\n', offset - 1) + 1;
}

/** The lines of a statement, moved to the left as far as its first one was to the right. */
function withoutIndentation(text: string, { start, end }: Syntax): string {
  const indentation = text.slice(lineStart(text, start), start);
  return text.slice(start, end).replaceAll(`\n${indentation}`, '\n');
}
