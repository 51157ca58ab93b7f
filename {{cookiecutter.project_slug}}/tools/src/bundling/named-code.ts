// The functions and classes of a bundle by their names, and which of them run.
//
// That is decided by their names, as in "Efficient Construction of Approximate Call Graphs for
// JavaScript IDE Services" (Feldthaus et al., 2013): a function runs if code that runs mentions its
// name, as a variable, as a member or as a string.
import type { Syntax } from './syntax.ts';

/** Where a name is mentioned: in calls inside `try` only, or elsewhere too. */
type Mention = 'caught' | 'uncaught';

/** A function or a class that runs when its name comes up. */
export interface Body {
  /** It may also be another name for one. */
  node: Syntax;
  /** The class whose method it is. */
  classBody: Syntax | undefined;
  /** Whether it runs: inside `try` only, or elsewhere too. */
  runs?: Mention;
}

/** Methods that Node and the language call, without the name in the code. */
const CALLED_BY_THE_RUNTIME = new Set([
  'constructor',
  'handler',
  // What a module is: esbuild's helpers read these.
  'default',
  'exports',
  // Iterators, promises and conversions.
  'next',
  'return',
  'then',
  'throw',
  'toJSON',
  'toString',
  'valueOf',
  // Streams.
  '_construct',
  '_destroy',
  '_final',
  '_flush',
  '_read',
  '_transform',
  '_write',
  '_writev',
]);

/** @param name - of a variable, or `.name` of a member */
export function isCalledByTheRuntime(name: string): boolean {
  return CALLED_BY_THE_RUNTIME.has(name.replace('.', ''));
}

/**
 * Code by its names: `name` of a variable, `.name` of a member, `name[]` for all members of an
 * object.
 */
export class NamedCode {
  readonly #bodies = new Map<string, Body[]>();
  readonly #mentions = new Map<string, Mention>();
  /** What runs, and was not taken yet. */
  readonly #waiting: Body[] = [];

  /** Says that code has these names; it runs once one of them is mentioned. */
  define(names: readonly string[], body: Body): void {
    for (const name of names) {
      this.#bodies.set(name, [...(this.#bodies.get(name) ?? []), body]);
      const mention = this.#mentions.get(name);
      if (mention) {
        this.run(body, mention);
      }
    }
  }

  /** Says that code that runs mentions a name. */
  mention(name: string, caught: boolean): void {
    const mention = caught ? 'caught' : 'uncaught';
    const before = this.#mentions.get(name);
    if (before === 'uncaught' || before === mention) {
      return;
    }
    this.#mentions.set(name, mention);
    for (const body of this.#bodies.get(name) ?? []) {
      this.run(body, mention);
    }
  }

  isMentioned(name: string): boolean {
    return this.#mentions.has(name);
  }

  /** Says that code runs, whatever its names. */
  run(body: Body, mention: Mention): void {
    if (body.runs !== 'uncaught' && body.runs !== mention) {
      body.runs = mention;
      this.#waiting.push(body);
    }
  }

  /** @returns code that runs, each once; inside `try` and elsewhere count as two */
  takeNext(): Body | undefined {
    return this.#waiting.pop();
  }
}
