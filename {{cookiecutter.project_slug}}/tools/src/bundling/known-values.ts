// The values that expressions of a bundle are known to have on a runtime that lacks some globals:
// without Buffer, `typeof Buffer !== "undefined"` is false.
import {
  childrenOf,
  globalMember,
  identifierName,
  isFunction,
  memberName,
  stringValue,
} from './syntax.ts';
import type { Syntax } from './syntax.ts';

/** A value that is known. */
export interface Known {
  value: unknown;
}

/** Some object or function: what a package exports. */
const SOMETHING = Symbol('something');

/** What the bundle defines under one name. */
interface Definition {
  /** The values that it is given. */
  values: Syntax[];
  /** It is also a parameter, or changed: its value is not known. */
  varies: boolean;
}

/** Evaluates expressions as far as they depend on nothing but which globals there are. */
export class KnownValues {
  /** Globals that the bundle itself sets: `globalThis.Buffer ??= Buffer`. */
  readonly provided: Set<string> = new Set();
  readonly #definitions = new Map<string, Definition>();
  /** Members in capitals that are read for other things than a comparison. */
  readonly #constantsInUse = new Set<string>();
  /** Of names and of functions, as far as they were asked for. */
  readonly #found = new Map<string | Syntax, Known | undefined>();
  readonly #missing: ReadonlySet<string>;
  readonly #freeName: (identifier: string) => string | undefined;

  /**
   * @param program - the bundle
   * @param missing - names of globals that the runtime lacks
   * @param freeName - the name of the global that an identifier in `program` stands for
   */
  constructor(
    program: Syntax,
    missing: ReadonlySet<string>,
    freeName: (identifier: string) => string | undefined,
  ) {
    this.#missing = missing;
    this.#freeName = freeName;
    this.#collect(program);
  }

  /**
   * @returns whether a global of this name exists neither on the runtime nor because the bundle
   * sets it
   */
  isMissing(name: string | undefined): boolean {
    return name !== undefined && this.#missing.has(name) && !this.provided.has(name);
  }

  /** @returns undefined if its value is not known */
  valueOf(node: Syntax): Known | undefined {
    const part = (name: string): Known | undefined => this.valueOf(node[name] as Syntax);
    switch (node.type) {
      case 'Literal':
        return node['regex'] ? undefined : { value: node['value'] };
      case 'Identifier':
        return this.#valueOfName(node['name'] as string);
      case 'ChainExpression':
        return part('expression');
      case 'SequenceExpression':
        return this.valueOf((node['expressions'] as Syntax[]).at(-1)!);
      case 'MemberExpression':
        return this.#valueOfMember(node);
      case 'UnaryExpression':
        return this.#valueOfUnary(node);
      case 'BinaryExpression':
        return this.#valueOfBinary(node, part('left'), part('right'));
      case 'LogicalExpression':
        return valueOfLogical(node['operator'] as string, part('left'), part('right'));
      case 'ConditionalExpression': {
        const test = part('test');
        return test && part(test.value ? 'consequent' : 'alternate');
      }
      case 'CallExpression':
        return this.#valueOfCall(node);
      default:
        return undefined;
    }
  }

  #valueOfName(name: string): Known | undefined {
    if (name === 'undefined') {
      return { value: undefined };
    }
    const definition = this.#definitions.get(name);
    if (!definition || definition.varies) {
      return undefined;
    }
    return this.#once(name, () => this.#commonValue(definition.values));
  }

  /** Looks it up once. What depends on itself is not known. */
  #once(key: string | Syntax, find: () => Known | undefined): Known | undefined {
    if (!this.#found.has(key)) {
      this.#found.set(key, undefined);
      this.#found.set(key, find());
    }
    return this.#found.get(key);
  }

  /** @returns the value that all of them have */
  #commonValue(nodes: readonly Syntax[]): Known | undefined {
    const values = nodes.map((node) => this.valueOf(node));
    const [first] = values;
    return values.every((known) => known !== undefined && known.value === first?.value)
      ? first
      : undefined;
  }

  #valueOfMember(node: Syntax): Known | undefined {
    if (this.isMissing(globalMember(node))) {
      return { value: undefined };
    }
    const name = memberName(node);
    if (name === 'default' && this.#isPackage(node['object'] as Syntax)) {
      return { value: SOMETHING };
    }
    const definition = this.#definitions.get(`.${name}`);
    if (definition && !definition.varies && definition.values.every(isComputed)) {
      return this.#once(`.${name}`, () => this.#commonValue(definition.values));
    }
    // `globalThis.crypto?.subtle`
    const object = node['optional'] ? this.valueOf(node['object'] as Syntax) : undefined;
    return object && (object.value === undefined || object.value === null)
      ? { value: undefined }
      : undefined;
  }

  /** `import_form_data` after `var import_form_data = __toESM(require("form-data"))` */
  #isPackage(node: Syntax): boolean {
    const values = this.#definitions.get(identifierName(node) ?? '')?.values ?? [];
    return (
      values.length > 0 &&
      values.every(({ callee }) => identifierName(callee as Syntax | undefined) === '__toESM')
    );
  }

  #valueOfUnary(node: Syntax): Known | undefined {
    const argument = node['argument'] as Syntax;
    if (
      node['operator'] === 'typeof' &&
      this.isMissing(this.#freeName(identifierName(argument) ?? ''))
    ) {
      return { value: 'undefined' };
    }
    if (node['operator'] === 'typeof' && identifierName(argument) === 'globalThis') {
      return { value: 'object' };
    }
    const known = this.valueOf(argument);
    switch (node['operator']) {
      case 'void':
        return { value: undefined };
      case '!':
        return known && { value: !known.value };
      case 'typeof':
        return known && known.value !== SOMETHING ? { value: typeof known.value } : undefined;
      default:
        return undefined;
    }
  }

  #valueOfBinary(
    node: Syntax,
    left: Known | undefined,
    right: Known | undefined,
  ): Known | undefined {
    const operator = node['operator'] as string;
    if (operator === 'in') {
      const isGlobal = identifierName(node['right'] as Syntax) === 'globalThis';
      return isGlobal && this.isMissing(stringValue(node['left'] as Syntax))
        ? { value: false }
        : undefined;
    }
    if (!left || !right) {
      // `input === Papa.NODE_STREAM_INPUT`, where no code gives that constant to anything
      const sides = [node['left'] as Syntax, node['right'] as Syntax];
      const isOnlyCompared = sides.some(
        (side) => isConstant(side) && !this.#constantsInUse.has(memberName(side)!),
      );
      return isOnlyCompared ? comparedUnequal(operator) : undefined;
    }
    if (left.value === SOMETHING || right.value === SOMETHING) {
      return undefined;
    }
    switch (operator) {
      case '===':
        return { value: left.value === right.value };
      case '!==':
        return { value: left.value !== right.value };
      case '==':
        return { value: isLooselyEqual(left.value, right.value) };
      case '!=':
        return { value: !isLooselyEqual(left.value, right.value) };
      default:
        return undefined;
    }
  }

  /** Of a function that the bundle defines, whatever it is called with. */
  #valueOfCall(node: Syntax): Known | undefined {
    const callee = node['callee'] as Syntax;
    const name = identifierName(callee);
    if (name === 'Boolean') {
      const [argument] = node['arguments'] as Syntax[];
      const known = argument && this.valueOf(argument);
      return known && { value: Boolean(known.value) };
    }
    const definition = name === undefined ? undefined : this.#definitions.get(name);
    const called = isFunction(callee) ? [callee] : (definition?.values ?? []);
    const [only] = called;
    if (called.length !== 1 || !isFunction(only!) || definition?.varies) {
      return undefined;
    }
    return this.#once(only!, () => this.#valueOfFunction(only!));
  }

  #valueOfFunction(node: Syntax): Known | undefined {
    if (node['async'] || node['generator']) {
      return undefined;
    }
    const body = node['body'] as Syntax;
    const results = body.type === 'BlockStatement' ? returnedBy(body) : [body];
    return results.length > 0 ? this.#commonValue(results) : undefined;
  }

  /** Finds all definitions, and the globals that the bundle sets. */
  #collect(node: Syntax, parent?: Syntax): void {
    switch (node.type) {
      case 'MemberExpression':
        if (isConstant(node) && !comparesWith(parent) && parent?.['left'] !== node) {
          this.#constantsInUse.add(memberName(node)!);
        }
        break;
      case 'VariableDeclarator':
        this.#define(node['id'] as Syntax, node['init'] as Syntax | null);
        break;
      case 'FunctionDeclaration':
        this.#define(node['id'] as Syntax, node);
        break;
      case 'AssignmentExpression':
        this.#collectAssignment(node);
        break;
      case 'Property':
        this.#defineMember(node, node['value'] as Syntax);
        break;
      case 'UpdateExpression':
        this.#vary(node['argument'] as Syntax);
        break;
      case 'CallExpression':
        this.#collectCall(node);
        break;
      case 'CatchClause':
        this.#vary(node['param'] as Syntax | null);
        break;
      case 'ForInStatement':
      case 'ForOfStatement':
        this.#varyDeclared(node['left'] as Syntax);
        break;
      default:
    }
    if (isFunction(node)) {
      this.#collectParameters(node, parent);
    }
    for (const child of childrenOf(node)) {
      this.#collect(child, node);
    }
  }

  /**
   * Their values are not known, except in `(function (hasBuffer) { … })(typeof Buffer !==
   * "undefined")`.
   */
  #collectParameters(node: Syntax, parent: Syntax | undefined): void {
    const isCalledHere = parent?.type === 'CallExpression' && parent['callee'] === node;
    const values = isCalledHere ? (parent['arguments'] as Syntax[]) : [];
    (node['params'] as Syntax[]).forEach((parameter, index) => {
      const value = values[index];
      if (value) {
        this.#define(parameter, value);
      } else {
        this.#vary(parameter);
      }
    });
  }

  #collectAssignment(node: Syntax): void {
    const left = node['left'] as Syntax;
    const name = globalMember(left);
    if (name !== undefined) {
      this.provided.add(name);
    } else if (left.type === 'MemberExpression') {
      this.#defineMember(left, node['right'] as Syntax);
    } else if (node['operator'] === '=' && left.type === 'Identifier') {
      this.#define(left, node['right'] as Syntax);
    } else {
      this.#vary(left);
    }
  }

  /** `Object.assign(globalThis, { Buffer })`, `Object.defineProperty(globalThis, "Buffer", …)` */
  #collectCall(node: Syntax): void {
    const [target, second] = node['arguments'] as Syntax[];
    if (identifierName(target) !== 'globalThis' || !second) {
      return;
    }
    const members = (second['properties'] as Syntax[] | undefined) ?? [];
    const names = members
      .filter(({ type }) => type === 'Property')
      .map((property) => identifierName(property['key'] as Syntax));
    for (const name of [...names, stringValue(second)]) {
      if (name !== undefined) {
        this.provided.add(name);
      }
    }
  }

  #define(target: Syntax, value: Syntax | null): void {
    const name = identifierName(target);
    if (name === undefined) {
      this.#vary(target);
      return;
    }
    const definition = this.#definitionOf(name);
    if (value) {
      definition.values.push(value);
    }
  }

  #defineMember(target: Syntax, value: Syntax): void {
    const name = memberName(target);
    if (name !== undefined) {
      this.#definitionOf(`.${name}`).values.push(value);
    }
  }

  #varyDeclared(left: Syntax): void {
    const declarations = (left['declarations'] as Syntax[] | undefined) ?? [];
    for (const target of [left, ...declarations.map(({ id }) => id as Syntax)]) {
      this.#vary(target);
    }
  }

  /** All names in a parameter or another pattern. */
  #vary(pattern: Syntax | null): void {
    const name = identifierName(pattern);
    if (name !== undefined) {
      this.#definitionOf(name).varies = true;
    } else if (pattern && /Pattern$|^Property$|^RestElement$/.test(pattern.type)) {
      for (const child of childrenOf(pattern)) {
        this.#vary(child);
      }
    }
  }

  #definitionOf(name: string): Definition {
    let definition = this.#definitions.get(name);
    if (!definition) {
      definition = { values: [], varies: false };
      this.#definitions.set(name, definition);
    }
    return definition;
  }
}

function valueOfLogical(
  operator: string,
  left: Known | undefined,
  right: Known | undefined,
): Known | undefined {
  if (operator === '&&') {
    // If one part is false, the whole is not true, whatever the other part is.
    const isFalse = (left && !left.value) || (right && !right.value);
    return isFalse ? { value: left && !left.value ? left.value : false } : left && right;
  }
  if (operator === '||') {
    return left?.value ? left : left && right;
  }
  return left && (left.value ?? undefined) !== undefined ? left : left && right;
}

/** `Papa.NODE_STREAM_INPUT` */
function isConstant(node: Syntax): boolean {
  return node.type === 'MemberExpression' && /^[A-Z][A-Z0-9_]+$/.test(memberName(node) ?? '');
}

function comparesWith(parent: Syntax | undefined): boolean {
  return (
    parent?.type === 'BinaryExpression' &&
    comparedUnequal(parent['operator'] as string) !== undefined
  );
}

/** What a comparison gives for values that are not equal. */
function comparedUnequal(operator: string): Known | undefined {
  if (operator === '===' || operator === '==') {
    return { value: false };
  }
  return operator === '!==' || operator === '!=' ? { value: true } : undefined;
}

/**
 * An option that is `false` in the code may be set from outside; what is computed, as
 * `!!root.Worker`, is not.
 */
function isComputed({ type }: Syntax): boolean {
  return type !== 'Literal' && type !== 'Identifier';
}

/** As `==` does, for what occurs in tests for globals: null and undefined are equal. */
function isLooselyEqual(left: unknown, right: unknown): boolean {
  return (left ?? undefined) === (right ?? undefined);
}

/** The expressions that a function returns. */
function returnedBy(node: Syntax): Syntax[] {
  if (node.type === 'ReturnStatement') {
    return node['argument'] ? [node['argument'] as Syntax] : [];
  }
  return isFunction(node) ? [] : childrenOf(node).flatMap(returnedBy);
}
