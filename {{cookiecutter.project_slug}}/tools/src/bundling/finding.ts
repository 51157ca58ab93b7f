// What a check found: where, what, and for which bots.

export type Severity = 'error' | 'warning';

export interface Finding {
  severity: Severity;
  /**
   * Findings of one kind are shown together: a rule of the linter, a code of TypeScript, or a name
   * of ours.
   */
  kind: string;
  /** What is wrong and what helps, in one line, without the place. */
  message: string;
  /** With slashes, from the repository's folder. */
  file?: string;
  /** The first line is 1. */
  line?: number;
  /** The first column is 1. */
  column?: number;
  /** The npm package that is to blame. */
  package?: string;
  /** The bots it concerns. Empty: none of them, such as an error in a test. */
  bots: string[];
}

/** Codes of TypeScript for an import that it cannot find: of names, and for its effects only. */
export const MODULE_NOT_FOUND: ReadonlySet<string> = new Set(['TS2307', 'TS2882']);

/** `src/bots/lab.ts:12:3` */
export function placeOf({ file, line, column }: Finding): string {
  return [file, line, column].filter((part) => part !== undefined).join(':');
}

/**
 * @param findings - of all checks
 * @returns the errors of each bot, by its name
 */
export function errorsByBot(findings: readonly Finding[]): Map<string, Finding[]> {
  const errors = new Map<string, Finding[]>();
  for (const finding of findings) {
    if (finding.severity !== 'error') {
      continue;
    }
    for (const bot of finding.bots) {
      errors.set(bot, [...(errors.get(bot) ?? []), finding]);
    }
  }
  return errors;
}

/**
 * @param findings - of all checks
 * @param bots - with the packages that each accepts
 * @returns the same without warnings about packages for bots that accept them
 */
export function withoutAccepted(
  findings: readonly Finding[],
  bots: readonly { name: string; acceptedPackages: readonly string[] }[],
): Finding[] {
  const accepted = new Map(bots.map(({ name, acceptedPackages }) => [name, acceptedPackages]));
  return findings.flatMap((finding) => {
    const { package: name, severity } = finding;
    if (name === undefined || severity === 'error') {
      return [finding];
    }
    const concerned = finding.bots.filter((bot) => !accepted.get(bot)?.includes(name));
    return concerned.length > 0 ? [{ ...finding, bots: concerned }] : [];
  });
}

/** @returns the same findings, the warnings among them as errors */
export function asErrors(findings: readonly Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, severity: 'error' }));
}

/** `src/bots/a.ts:1:2: Buffer does not exist …`, or `src/bots/a.ts exports no handler …` */
export function describe(finding: Finding): string {
  const place = placeOf(finding);
  const separator = finding.line === undefined ? ' ' : ': ';
  return place ? `${place}${separator}${finding.message}` : finding.message;
}

/** @returns each finding once: the same one in several bundles names all their bots */
export function mergeFindings(findings: readonly Finding[]): Finding[] {
  const merged = new Map<string, Finding>();
  for (const finding of findings) {
    const key = [finding.severity, finding.kind, describe(finding)].join('\n');
    const known = merged.get(key);
    if (known) {
      known.bots = [...new Set([...known.bots, ...finding.bots])];
    } else {
      merged.set(key, { ...finding });
    }
  }
  return [...merged.values()];
}

/**
 * @returns the same without what the type checker says about an import that the bundler has
 *   reported too
 */
export function withoutRepeats(findings: readonly Finding[]): Finding[] {
  const missing = new Set(
    findings
      .filter(({ kind }) => kind === 'missing-import')
      .map(({ file, line }) => `${file}:${line}`),
  );
  return findings.filter(
    ({ kind, file, line }) => !MODULE_NOT_FOUND.has(kind) || !missing.has(`${file}:${line}`),
  );
}
