// Where the code of a bundle uses a global that its runtime lacks. Code that only runs where the
// global exists is left out: behind `typeof Buffer !== "undefined"` and the like, inside `try` with
// a `catch` that goes on, and, if asked for, in functions that nothing calls.
//
// This file reads the code; which functions are called is decided by their names (named-code.ts). A
// function without a name runs where it stands.
import { exportsIn, isExport, moduleFunction } from './esbuild-helpers.ts';
import type { MarkedBundle } from './free-names.ts';
import type { KnownValues } from './known-values.ts';
import { isCalledByTheRuntime, NamedCode } from './named-code.ts';
import type { Body } from './named-code.ts';
import {
  childrenOf,
  globalMember,
  identifierName,
  isClass,
  isFunction,
  memberName,
  stringValue,
} from './syntax.ts';
import type { Syntax } from './syntax.ts';

export interface NameUse {
  name: string;
  kind: 'missing' | 'instanceof' | 'console';
  /** Of the console: `error`. */
  method?: string;
  /** In the program. */
  offset: number;
}

/** What is given to these is called by the language: the traps of a proxy, getters and setters. */
const TAKES_FUNCTIONS = new Set(['Proxy', 'create', 'defineProperties', 'defineProperty']);

/** A string of this form may be the name of a member. */
const NAME = /^[A-Za-z_$][\w$]{0,39}$/;

/**
 * @param bundle - to look through
 * @param values - what is known on its runtime
 * @param allFunctions - take it that every function runs
 * @returns each use that may run; the caller picks those that matter
 */
export function findNameUses(
  bundle: MarkedBundle,
  values: KnownValues,
  allFunctions: boolean,
): NameUse[] {
  const walk = new Walk(bundle, values, allFunctions);
  walk.run();
  return [...walk.uses.values()];
}

class Walk {
  readonly uses = new Map<number, NameUse>();
  readonly #bundle: MarkedBundle;
  readonly #values: KnownValues;
  readonly #allFunctions: boolean;
  readonly #code = new NamedCode();
  /** Variables that hold the exports of a module: `__export(zod_exports, { map: () => map })`. */
  readonly #namespaces: ReadonlyMap<string, Syntax[]>;
  #caught = false;
  /** Names of the variable or member whose value is being walked. */
  #valueOf: readonly string[] = [];
  /** The functions of the object that is being walked run, whatever their names. */
  #allMembersRun = false;
  /** The class whose code is being walked. */
  #classBody: Syntax | undefined;

  constructor(bundle: MarkedBundle, values: KnownValues, allFunctions: boolean) {
    this.#bundle = bundle;
    this.#values = values;
    this.#allFunctions = allFunctions;
    const statements = bundle.program['body'] as Syntax[];
    this.#namespaces = new Map(statements.flatMap((statement) => exportsIn(statement)));
  }

  run(): void {
    this.#visit(this.#bundle.program);
    for (let next = this.#code.takeNext(); next; next = this.#code.takeNext()) {
      this.#caught = next.runs === 'caught';
      this.#classBody = next.classBody;
      this.#enter(next.node);
    }
  }

  #visit(node: Syntax): void {
    switch (node.type) {
      case 'Program':
      case 'BlockStatement':
      case 'StaticBlock':
        this.#visitStatements(node['body'] as Syntax[]);
        break;
      case 'IfStatement':
      case 'ConditionalExpression':
        this.#visitBranches(node);
        break;
      case 'LogicalExpression':
        this.#visitLogical(node);
        break;
      case 'TryStatement':
        this.#visitTry(node);
        break;
      case 'FunctionDeclaration':
      case 'ClassDeclaration':
        this.#visitCode(node, variableName(node['id'] as Syntax));
        break;
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
      case 'ClassExpression':
        this.#visitCode(node, this.#valueOf);
        break;
      case 'VariableDeclarator':
        this.#visitPattern(node['id'] as Syntax);
        if (node['init']) {
          this.#visitNamed(node['init'] as Syntax, variableName(node['id'] as Syntax));
        }
        break;
      case 'AssignmentExpression':
        this.#visitAssignment(node);
        break;
      case 'AssignmentPattern':
        this.#visitPattern(node['left'] as Syntax);
        this.#visitNamed(node['right'] as Syntax, variableName(node['left'] as Syntax));
        break;
      case 'ObjectPattern':
      case 'ArrayPattern':
        this.#visitPattern(node);
        break;
      case 'Property':
        this.#visitProperty(node);
        break;
      case 'MemberExpression':
        this.#visitMember(node);
        break;
      case 'CallExpression':
      case 'NewExpression':
        this.#visitCall(node);
        break;
      case 'UnaryExpression':
        if (node['operator'] !== 'typeof' || !this.#freeName(node['argument'] as Syntax)) {
          this.#visit(node['argument'] as Syntax);
        }
        break;
      case 'BinaryExpression':
        this.#visitBinary(node);
        break;
      case 'SwitchCase':
        for (const part of childrenOf(node)) {
          if (part !== node['test'] || stringValue(part) === undefined) {
            this.#visit(part);
          }
        }
        break;
      case 'ForInStatement':
        this.#callAnyMember(node['right'] as Syntax);
        this.#visitChildren(node);
        break;
      case 'SpreadElement':
        this.#visitLater(node['argument'] as Syntax, this.#valueOf);
        break;
      case 'Identifier':
        this.#visitIdentifier(node, false);
        break;
      case 'Literal':
        this.#mentionString(node);
        break;
      default:
        this.#visitChildren(node);
    }
  }

  #visitChildren(node: Syntax): void {
    for (const child of childrenOf(node)) {
      this.#visit(child);
    }
  }

  /** As far as the statements are reached. */
  #visitStatements(statements: readonly Syntax[]): void {
    for (const statement of statements) {
      this.#visit(statement);
      if (this.#leaves(statement)) {
        // Declarations count from the beginning of the block.
        const rest = statements.slice(statements.indexOf(statement) + 1);
        rest.filter(({ type }) => type === 'FunctionDeclaration').forEach((f) => this.#visit(f));
        return;
      }
    }
  }

  /** @returns whether nothing after it runs */
  #leaves(statement: Syntax): boolean {
    switch (statement.type) {
      case 'ReturnStatement':
      case 'ThrowStatement':
      case 'BreakStatement':
      case 'ContinueStatement':
        return true;
      case 'BlockStatement':
        return (statement['body'] as Syntax[]).some((part) => this.#leaves(part));
      case 'IfStatement':
        return this.#branches(statement).every((branch) => branch !== null && this.#leaves(branch));
      default:
        return false;
    }
  }

  /** The branches that may run; null stands for an `else` that is not there. */
  #branches(node: Syntax): (Syntax | null)[] {
    const test = this.#values.valueOf(node['test'] as Syntax);
    const consequent = node['consequent'] as Syntax;
    const alternate = (node['alternate'] as Syntax | null | undefined) ?? null;
    if (!test) {
      return [consequent, alternate];
    }
    return [test.value ? consequent : alternate];
  }

  #visitBranches(node: Syntax): void {
    this.#visit(node['test'] as Syntax);
    for (const branch of this.#branches(node)) {
      if (branch) {
        this.#visit(branch);
      }
    }
  }

  #visitLogical(node: Syntax): void {
    this.#visit(node['left'] as Syntax);
    const left = this.#values.valueOf(node['left'] as Syntax);
    if (!left || goesOn(node['operator'] as string, left.value)) {
      this.#visit(node['right'] as Syntax);
    }
  }

  #visitTry(node: Syntax): void {
    const handler = node['handler'] as Syntax | null;
    const before = this.#caught;
    this.#caught = before || (handler !== null && !throws(handler));
    this.#visit(node['block'] as Syntax);
    this.#caught = before;
    if (handler) {
      this.#visit(handler['body'] as Syntax);
    }
    if (node['finalizer']) {
      this.#visit(node['finalizer'] as Syntax);
    }
  }

  /** A value that gets names: a function or a class in it waits until one of them comes up. */
  #visitNamed(value: Syntax, names: readonly string[]): void {
    const moduleCode = moduleFunction(value);
    if (isFunction(value) || isClass(value) || moduleCode) {
      this.#visitCode(moduleCode ?? value, names);
      return;
    }
    if (value.type === 'Identifier' && !this.#freeName(value)) {
      this.#visitLater(value, names);
      return;
    }
    const before = this.#valueOf;
    this.#valueOf = names;
    this.#visit(value);
    this.#valueOf = before;
  }

  /** `Papa.Parser = Parser` calls nothing: what is behind the new name runs when that comes up. */
  #visitLater(value: Syntax, names: readonly string[]): void {
    if (names.length === 0) {
      this.#visit(value);
    } else if (names.some(isCalledByTheRuntime)) {
      if (names[0] !== '.constructor') {
        this.#visit(value); // `module.exports = Parser`
      }
    } else {
      this.#code.define(names, { node: value, classBody: undefined });
    }
  }

  #visitCode(node: Syntax, names: readonly string[]): void {
    if (isClass(node)) {
      this.#visitClassDefinition(node);
    }
    const ownName = identifierName(node['id'] as Syntax | null);
    const known = ownName === undefined ? names : [...names, ownName];
    const body: Body = { node, classBody: this.#classBody };
    if (names.length === 0 || this.#allFunctions || names.some(isCalledByTheRuntime)) {
      this.#code.run(body, 'uncaught');
    } else {
      this.#code.define(known, body);
    }
  }

  /** The code of a function that runs, or of a class that is used. */
  #enter(node: Syntax): void {
    if (isFunction(node)) {
      for (const parameter of node['params'] as Syntax[]) {
        this.#visitPattern(parameter);
      }
      this.#visit(node['body'] as Syntax);
    } else if (isClass(node)) {
      this.#enterClass(node);
    } else {
      this.#visit(node);
    }
  }

  #enterClass(node: Syntax): void {
    const before = this.#classBody;
    this.#classBody = node['body'] as Syntax;
    if (node['superClass']) {
      this.#visit(node['superClass'] as Syntax);
    }
    for (const member of this.#classBody['body'] as Syntax[]) {
      if (member.type === 'MethodDefinition') {
        this.#visitNamed(member['value'] as Syntax, methodNames(member));
      } else if (member['value'] && !member['static']) {
        this.#visitNamed(member['value'] as Syntax, methodNames(member));
      }
    }
    this.#classBody = before;
  }

  /** What of a class runs where it is defined. */
  #visitClassDefinition(node: Syntax): void {
    const superClass = node['superClass'] as Syntax | null;
    // Another class of the bundle waits until this one is used.
    if (superClass && (!identifierName(superClass) || this.#freeName(superClass))) {
      this.#visit(superClass);
    }
    for (const member of (node['body'] as Syntax)['body'] as Syntax[]) {
      if (member['computed']) {
        this.#visit(member['key'] as Syntax);
      }
      if (member.type === 'StaticBlock') {
        this.#visit(member);
      } else if (member.type === 'PropertyDefinition' && member['static'] && member['value']) {
        this.#visitNamed(member['value'] as Syntax, methodNames(member));
      }
    }
  }

  /** A parameter, or what a variable is taken from: `{ encode = Buffer.from }`. */
  #visitPattern(pattern: Syntax): void {
    if (pattern.type === 'Identifier') {
      return;
    }
    if (pattern.type === 'Property') {
      const name = memberName(pattern);
      if (name === undefined) {
        this.#visit(pattern['key'] as Syntax);
      } else {
        this.#code.mention(`.${name}`, false);
      }
      this.#visitPattern(pattern['value'] as Syntax);
    } else if (pattern.type === 'ObjectPattern' || pattern.type === 'ArrayPattern') {
      childrenOf(pattern).forEach((child) => this.#visitPattern(child));
    } else if (pattern.type === 'RestElement') {
      this.#visitPattern(pattern['argument'] as Syntax);
    } else {
      this.#visit(pattern);
    }
  }

  #visitAssignment(node: Syntax): void {
    const left = node['left'] as Syntax;
    const right = node['right'] as Syntax;
    if (left.type === 'MemberExpression') {
      const name = memberName(left);
      this.#visitOwner(left['object'] as Syntax, name);
      if (name === undefined) {
        this.#visit(left['property'] as Syntax);
      }
      this.#visitPassedOn(right, name === undefined ? [] : [`.${name}`]);
      return;
    }
    this.#visitPattern(left);
    this.#visitNamed(right, variableName(left));
  }

  #visitProperty(node: Syntax): void {
    const name = memberName(node);
    if (name === undefined) {
      this.#visit(node['key'] as Syntax);
    }
    const value = node['value'] as Syntax;
    if (name === undefined || this.#allMembersRun) {
      this.#visitNamed(value, []);
    } else {
      const objects = this.#valueOf.map((object) => `${object}[]`);
      this.#visitPassedOn(value, [`.${name}`, ...objects]);
    }
  }

  /** `client.parse = other.parse` calls nothing. */
  #visitPassedOn(value: Syntax, names: readonly string[]): void {
    if (value.type === 'MemberExpression' && `.${memberName(value)}` === names[0]) {
      this.#visit(value['object'] as Syntax);
    } else {
      this.#visitNamed(value, names);
    }
  }

  /**
   * `zod_exports.map` calls its `map`, but `list.map` does not, unless the namespace is used as an
   * object.
   */
  #visitNamespace(namespace: string): void {
    for (const property of this.#namespaces.get(namespace) ?? []) {
      const name = memberName(property) ?? '';
      const names = [`${namespace}.${name}`, `${namespace}[]`];
      const isObject = this.#code.isMentioned(namespace);
      this.#visitNamed(property['value'] as Syntax, isObject ? [`.${name}`] : names);
    }
  }

  #visitMember(node: Syntax): void {
    const object = node['object'] as Syntax;
    const name = memberName(node);
    const namespace = identifierName(object) ?? '';
    if (name !== undefined && this.#namespaces.has(namespace)) {
      this.#code.mention(`${namespace}.${name}`, false);
      return;
    }
    if (name === undefined) {
      this.#callAnyMember(object);
      this.#visit(node['property'] as Syntax);
    } else {
      this.#code.mention(`.${name}`, false);
    }
    if (!node['optional']) {
      this.#useOfGlobalMember(object);
    }
    this.#visitOwner(object, name);
  }

  /** `Parser.prototype.parse = …` does not call Parser. */
  #visitOwner(object: Syntax, member: string | undefined): void {
    if (member !== 'prototype' || object.type !== 'Identifier' || this.#freeName(object)) {
      this.#visit(object);
    }
  }

  /** `globalThis.crypto.subtle` fails, `globalThis.crypto` alone does not. */
  #useOfGlobalMember(node: Syntax): void {
    const name = globalMember(node);
    if (this.#values.isMissing(name)) {
      this.#use({ name: name!, kind: 'missing', offset: node.start });
    }
  }

  #visitCall(node: Syntax): void {
    const callee = node['callee'] as Syntax;
    if (isExport(node)) {
      const [namespace] = node['arguments'] as Syntax[];
      this.#visitNamespace(identifierName(namespace)!);
      return;
    }
    const [first] = node['arguments'] as Syntax[];
    if (callee.type === 'MemberExpression') {
      const member = memberName(callee);
      const isConsole = this.#freeName(callee['object'] as Syntax) === 'console';
      if (isConsole && member !== undefined && !node['optional']) {
        this.#use({ name: 'console', kind: 'console', method: member, offset: callee.start });
      }
      const lists = member === 'values' || member === 'entries' || member === 'keys';
      if (first && lists && identifierName(callee['object'] as Syntax) === 'Object') {
        this.#callAnyMember(first);
      }
    }
    if (!node['optional']) {
      this.#useOfGlobalMember(callee);
    }
    if (node.type === 'NewExpression' && first && this.#freeName(callee) === 'FormData') {
      // With an HTML form, which only browsers have: Node's own FormData throws here.
      this.#visit(first);
      return;
    }
    if (callee.type === 'Identifier') {
      this.#visitIdentifier(callee, this.#caught);
    } else if (isFunction(callee) && this.#caught) {
      this.#enter(callee); // called where it stands, inside `try`
    } else {
      this.#visit(callee);
    }
    const before = this.#allMembersRun;
    const name = callee.type === 'MemberExpression' ? memberName(callee) : identifierName(callee);
    this.#allMembersRun = name !== undefined && TAKES_FUNCTIONS.has(name);
    for (const argument of node['arguments'] as Syntax[]) {
      this.#visit(argument);
    }
    this.#allMembersRun = before;
  }

  /** Any function in this object may be called. */
  #callAnyMember(object: Syntax): void {
    if (object.type === 'ThisExpression' && this.#classBody) {
      for (const member of this.#classBody['body'] as Syntax[]) {
        methodNames(member).forEach((name) => this.#code.mention(name, false));
      }
    } else if (object.type === 'MemberExpression') {
      const name = memberName(object);
      this.#code.mention(`.${name}[]`, false);
    } else if (object.type === 'Identifier') {
      this.#code.mention(`${identifierName(object)}[]`, false);
    }
  }

  #visitBinary(node: Syntax): void {
    const right = node['right'] as Syntax;
    const name = node['operator'] === 'instanceof' ? this.#freeName(right) : undefined;
    if (name !== undefined && !this.#values.isMissing(name)) {
      this.#use({ name, kind: 'instanceof', offset: right.start });
    }
    // A string that is only compared is not the name of anything that is called.
    const isComparison = /^[=!]==?$/.test(node['operator'] as string);
    for (const side of childrenOf(node)) {
      if (!isComparison || stringValue(side) === undefined) {
        this.#visit(side);
      }
    }
  }

  #visitIdentifier(node: Syntax, caught: boolean): void {
    const name = this.#freeName(node);
    if (name === undefined) {
      this.#mentionVariable(node['name'] as string, caught);
    } else if (this.#values.isMissing(name)) {
      this.#use({ name, kind: 'missing', offset: node.start });
    }
  }

  #mentionVariable(name: string, caught: boolean): void {
    const isNew = !this.#code.isMentioned(name);
    this.#code.mention(name, caught);
    if (isNew && this.#namespaces.has(name)) {
      this.#visitNamespace(name);
    }
  }

  #mentionString(node: Syntax): void {
    const text = stringValue(node);
    if (text !== undefined && NAME.test(text)) {
      this.#code.mention(`.${text}`, false);
    }
  }

  #use(use: NameUse): void {
    if (!this.#caught || use.kind !== 'missing') {
      this.uses.set(use.offset, use);
    }
  }

  #freeName(node: Syntax): string | undefined {
    const name = identifierName(node);
    return name === undefined ? undefined : this.#bundle.freeName(name);
  }
}

/** The name that a function gets from the variable that it is the value of. */
function variableName(target: Syntax): string[] {
  const name = identifierName(target);
  return name === undefined ? [] : [name];
}

/** The names under which a member of a class is called. */
function methodNames(member: Syntax): string[] {
  const name = member['key'] ? memberName(member) : undefined;
  return name === undefined ? [] : [`.${name}`];
}

/** @returns whether `left && right` and the like go on to their right side */
function goesOn(operator: string, left: unknown): boolean {
  if (operator === '&&') {
    return Boolean(left);
  }
  return operator === '||' ? !left : left === undefined || left === null;
}

/** @returns whether the code throws, other than in functions inside it */
function throws(node: Syntax): boolean {
  return node.type === 'ThrowStatement' || (!isFunction(node) && childrenOf(node).some(throws));
}
