// What esbuild reports, as findings.
import type { Message } from 'esbuild';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { packageNameIn } from '../runtime/package-name.ts';
import type { Finding, Severity } from './finding.ts';
import { packageOf } from './npm-packages.ts';

/** Warnings of esbuild about code that fails when it runs, by their id. */
const FAILS_AT_RUN_TIME = new Set([
  'call-import-namespace',
  'empty-import-meta',
  'import-is-undefined',
  'indirect-require',
  'unsupported-require-call',
]);

/** Messages that esbuild shows only when asked to. */
export const LOG_OVERRIDE = {
  'unsupported-require-call': 'warning',
  'unsupported-dynamic-import': 'warning',
  'indirect-require': 'warning',
} as const;

/**
 * @param message - an error of esbuild
 * @param bots - whose bundle it stops
 */
export function errorFinding(message: Message, bots: string[]): Finding {
  const missing = /^Could not resolve "([^"]*)"/.exec(message.text)?.[1];
  const pattern = /^Could not resolve (require|import)\("([^"]*)"\)/.exec(message.text);
  if (pattern) {
    const [, call, files] = pattern;
    return finding(
      'error',
      'pattern-without-files',
      `${packageLabel(message)}${call}() of an expression: no file matches "${files}", ` +
        'so it fails on a server. Import it by name, or use another package',
      message,
      bots,
    );
  }
  if (missing === undefined) {
    return finding('error', 'bundling', message.text, message, bots);
  }
  return finding('error', 'missing-import', `"${missing}" ${missingHint(missing)}`, message, bots);
}

function missingHint(specifier: string): string {
  if (/^[./]/.test(specifier)) {
    return 'cannot be found: check the path of the file';
  }
  const name = packageNameIn(specifier);
  if (name === '@medplum/fhirtypes') {
    return 'has types only, no code: import { … } becomes import type { … }';
  }
  if (existsSync(join('node_modules', name))) {
    return specifier === name
      ? 'is installed, but has no code to import. For its types: import type { … }'
      : `is not a file that ${name} exports: see "exports" in node_modules/${name}/package.json`;
  }
  return `cannot be found: npm install --save-dev ${name}`;
}

/**
 * @param message - a warning of esbuild
 * @param bots - whose bundles carry the file
 * @param onVmcontext - whether one of them has to run there
 * @returns undefined for what does no harm
 */
export function warningFinding(
  message: Message,
  bots: string[],
  onVmcontext: boolean,
): Finding | undefined {
  const file = message.location?.file ?? '';
  const owner = packageOf(file);
  const label = packageLabel(message);
  const severity = FAILS_AT_RUN_TIME.has(message.id) && !owner ? 'error' : 'warning';
  switch (message.id) {
    case 'unsupported-require-call':
    case 'indirect-require':
      return finding(
        severity,
        'require-expression',
        `${label}require() of an expression: the bundler cannot know what to copy in, ` +
          'so it fails on a server. Import it by name',
        message,
        bots,
      );
    case 'unsupported-dynamic-import':
      // A Lambda can import; what it imports is what the bot layer has.
      return onVmcontext
        ? finding(
            owner ? 'warning' : 'error',
            'import-expression',
            `${label}import() of an expression fails on vmcontext. Import it by name`,
            message,
            bots,
          )
        : undefined;
    case 'empty-import-meta':
      return owner
        ? undefined
        : finding(
            severity,
            'import-meta',
            'import.meta is empty in a bundle, which has no address: import the file, ' +
              'and it becomes part of the bundle',
            message,
            bots,
          );
    case 'ignored-bare-import':
      return owner
        ? undefined
        : finding(
            severity,
            'dropped-import',
            `${message.text.split(' because')[0]}: its package.json says that it has no side ` +
              'effects ("sideEffects": false)',
            message,
            bots,
          );
    default:
      return owner ? undefined : finding(severity, 'bundling', message.text, message, bots);
  }
}

/** `legacy-encoder 1.2.3: `, or nothing for the repository's own files. */
function packageLabel({ location }: Message): string {
  const owner = packageOf(location?.file ?? '');
  return owner ? `${owner.name} ${owner.version}: ` : '';
}

function finding(
  severity: Severity,
  kind: string,
  message: string,
  { location }: Message,
  bots: string[],
): Finding {
  const place = location
    ? { file: location.file, line: location.line, column: location.column + 1 }
    : {};
  const owner = packageOf(location?.file ?? '');
  const blamed = owner ? { package: owner.name } : {};
  return { severity, kind, message, ...blamed, ...place, bots };
}
