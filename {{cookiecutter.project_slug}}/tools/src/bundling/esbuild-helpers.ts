// The functions that esbuild adds to a bundle for its modules, and what is given to them.
import { identifierName, isFunction } from './syntax.ts';
import type { Syntax } from './syntax.ts';

/**
 * The exports in a statement like `__export(zod_exports, { map: () => map });`, which esbuild
 * writes for a module.
 */
export function exportsIn(statement: Syntax): [string, Syntax[]][] {
  const call = statement['expression'] as Syntax | undefined;
  if (!call || !isExport(call)) {
    return [];
  }
  const [namespace, exported] = call['arguments'] as [Syntax, Syntax];
  return [[identifierName(namespace)!, exported['properties'] as Syntax[]]];
}

/** @returns whether it is a call of `__export` */
export function isExport(node: Syntax): boolean {
  return node.type === 'CallExpression' && identifierName(node['callee'] as Syntax) === '__export';
}

/**
 * Helpers around a CommonJS module, which runs when the variable is called: `var require_a =
 * __commonJS(…)`.
 */
const MODULE_HELPERS = new Set(['__commonJS', '__commonJSMin', '__esm']);

/** The function of a CommonJS module in `__commonJS({ "path"(exports, module) { … } })`. */
export function moduleFunction(value: Syntax): Syntax | undefined {
  if (value.type !== 'CallExpression') {
    return undefined;
  }
  const helper = identifierName(value['callee'] as Syntax);
  const [argument] = value['arguments'] as Syntax[];
  if (helper === undefined || !MODULE_HELPERS.has(helper) || !argument) {
    return undefined;
  }
  const [property] = (argument['properties'] as Syntax[] | undefined) ?? [];
  return isFunction(argument) ? argument : (property?.['value'] as Syntax | undefined);
}
