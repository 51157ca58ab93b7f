// What a build prints about its findings: the first few of each kind, and how many there are.
import { dim, red, yellow } from '../terminal/output.ts';
import { describe } from './finding.ts';
import type { Finding, Severity } from './finding.ts';

/** So many findings of one kind are shown; all of them with --verbose. */
const SHOWN = 3;

/** Kinds of warnings that are shown. Of the others, which are about style, only the number is. */
const SHOWN_WARNINGS = new Set([
  'bot-in-bot',
  'dropped-import',
  'import-expression',
  'no-access-policy',
  'package-globals',
  'require-expression',
  'vmcontext-instanceof',
]);

/**
 * @param findings - of all checks
 * @param verbose - show all of them
 * @returns lines for the error output
 */
export function reportLines(findings: readonly Finding[], verbose: boolean): string[] {
  const errors = findings.filter(({ severity }) => severity === 'error');
  const warnings = findings.filter(({ severity }) => severity === 'warning');
  const shown = warnings.filter(({ kind }) => verbose || SHOWN_WARNINGS.has(kind));
  const counted = warnings.filter((finding) => !shown.includes(finding));
  const lines = [...section(errors, 'error', verbose), ...section(shown, 'warning', verbose)];
  if (counted.length > 0) {
    const text =
      `${counted.length} ${counted.length === 1 ? 'warning' : 'warnings'} about style: ` +
      `${countByKind(counted)}. npm run build -- --verbose shows them.`;
    lines.push(dim(text));
  }
  return lines;
}

function section(findings: readonly Finding[], severity: Severity, verbose: boolean): string[] {
  const label = severity === 'error' ? red('Error:') : yellow('Warning:');
  return byKind(findings).flatMap(([kind, group]) => {
    const shown = verbose ? group : group.slice(0, SHOWN);
    const lines = shown.map((finding) => `${label} ${describe(finding)}`);
    const hidden = group.length - shown.length;
    if (hidden > 0) {
      lines.push(dim(`  and ${hidden} more (${kind}). npm run build -- --verbose shows all.`));
    }
    return lines;
  });
}

function countByKind(findings: readonly Finding[]): string {
  return byKind(findings)
    .map(([kind, group]) => `${group.length} ${kind}`)
    .join(', ');
}

/** The most frequent kind first; within a kind, in the order of the files. */
function byKind(findings: readonly Finding[]): [string, Finding[]][] {
  const groups = new Map<string, Finding[]>();
  for (const finding of findings) {
    groups.set(finding.kind, [...(groups.get(finding.kind) ?? []), finding]);
  }
  return [...groups]
    .toSorted(([, a], [, b]) => b.length - a.length)
    .map(([kind, group]) => [kind, group.toSorted(compareByPlace)]);
}

function compareByPlace(a: Finding, b: Finding): number {
  return (
    (a.file ?? '').localeCompare(b.file ?? '') ||
    (a.line ?? 0) - (b.line ?? 0) ||
    (a.column ?? 0) - (b.column ?? 0)
  );
}
