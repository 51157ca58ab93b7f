// Syntax trees of JavaScript, as rolldown's parser makes them: https://github.com/estree/estree.

/** A node. Its further members depend on its type. */
export interface Syntax {
  type: string;
  /** Offset of its first character. */
  start: number;
  end: number;
  [member: string]: unknown;
}

function isSyntax(value: unknown): value is Syntax {
  return typeof (value as Partial<Syntax> | null)?.type === 'string';
}

/** @returns the nodes directly in this one, in the order of the text */
export function childrenOf(node: Syntax): Syntax[] {
  const children: Syntax[] = [];
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      children.push(...value.filter(isSyntax));
    } else if (isSyntax(value)) {
      children.push(value);
    }
  }
  return children;
}

export function isFunction({ type }: Syntax): boolean {
  return (
    type === 'FunctionExpression' ||
    type === 'ArrowFunctionExpression' ||
    type === 'FunctionDeclaration'
  );
}

export function isClass({ type }: Syntax): boolean {
  return type === 'ClassExpression' || type === 'ClassDeclaration';
}

/** @returns the name of an identifier; undefined for other nodes */
export function identifierName(node: Syntax | null | undefined): string | undefined {
  return node?.type === 'Identifier' ? (node['name'] as string) : undefined;
}

/** @returns the text of a string literal; undefined for other nodes */
export function stringValue(node: Syntax | null | undefined): string | undefined {
  return node?.type === 'Literal' && typeof node['value'] === 'string' ? node['value'] : undefined;
}

/**
 * @returns the name that a member expression, a property or a method has in the text: of `a.b`,
 * `a['b']`, `{ b: 1 }`
 */
export function memberName(node: Syntax): string | undefined {
  const key = (node['property'] ?? node['key']) as Syntax;
  if (key.type === 'PrivateIdentifier') {
    return `#${key['name'] as string}`;
  }
  return node['computed'] ? stringValue(key) : (identifierName(key) ?? stringValue(key));
}

/** How packages call the global object, apart from its name. */
const GLOBAL_OBJECT = /^(self|window|root)$|global/i;

/**
 * @returns `name` of `globalThis.name`, and of `root.name` and the like; undefined for other nodes
 */
export function globalMember(node: Syntax): string | undefined {
  if (node.type !== 'MemberExpression') {
    return undefined;
  }
  const object = identifierName(node['object'] as Syntax) ?? '';
  return GLOBAL_OBJECT.test(object) ? memberName(node) : undefined;
}
