// The linter and the type checker, in one pass of oxlint, as findings.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packageNameIn } from '../runtime/package-name.ts';
import { MODULE_NOT_FOUND } from './finding.ts';
import type { Finding } from './finding.ts';

/** One entry of `diagnostics` in oxlint's JSON output. */
interface Diagnostic {
  message: string;
  /** `typescript(TS2322)`, `eslint(no-unused-vars)` */
  code?: string;
  severity: 'error' | 'warning';
  help?: string;
  filename: string;
  labels: { span: { line: number; column: number } }[];
}

/**
 * Rules about what vmcontext lacks. In a build the finished bundle is checked instead, which knows
 * more.
 */
const CHECKED_IN_BUNDLE = ['no-restricted-globals', 'no-restricted-properties'];

/**
 * The type checker is a program in Go that holds on to nearly all of its memory until it ends:
 * collecting garbage frees next to nothing, and takes a fifth of the time. So it starts only when
 * the program is about to need more than this. See
 * https://pkg.go.dev/runtime#hdr-Environment_Variables.
 */
const GARBAGE_COLLECTION = { GOGC: 'off', GOMEMLIMIT: '2GiB' };

/** A package without types fails nothing. */
const WITHOUT_TYPES = 'TS7016';

/**
 * Lints and type checks everything but tools/.
 *
 * @param files - look at these only
 * @returns what was found; for no bots yet
 */
export async function lint(files: readonly string[] = []): Promise<Finding[]> {
  const oxlint = fileURLToPath(new URL('../bin/oxlint', import.meta.resolve('oxlint')));
  const flags = ['--type-aware', '--type-check', '--ignore-pattern=tools', '--format=json'];
  const child = spawn(process.execPath, [oxlint, ...flags, ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...GARBAGE_COLLECTION, ...process.env },
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  const output = Buffer.concat(chunks).toString();
  let diagnostics: Diagnostic[];
  try {
    ({ diagnostics } = JSON.parse(output) as { diagnostics: Diagnostic[] });
  } catch {
    // A configuration that it cannot read: it says why in words.
    const message = output.trim().replaceAll(/\s+/g, ' ') || 'oxlint ended without a result';
    return [{ severity: 'error', kind: 'oxlint', message, bots: [] }];
  }
  return diagnostics.map(toFinding).filter(({ kind }) => !CHECKED_IN_BUNDLE.includes(kind));
}

function toFinding({ message, code = '', severity, help, filename, labels }: Diagnostic): Finding {
  const kind = /\((.*)\)$/.exec(code)?.[1] ?? 'syntax';
  const [label] = labels;
  const isTypeScript = /^TS\d+$/.test(kind);
  const advice = isTypeScript ? adviceFor(kind, message) : (help ?? '');
  const text = [message, advice].filter(Boolean).join(' ').replaceAll(/\s+/g, ' ');
  return {
    severity: isOnlyAboutTypes(kind, message) ? 'warning' : severity,
    kind,
    message: `${text} (${kind})`,
    file: filename.replaceAll('\\', '/'),
    ...(label && { line: label.span.line, column: label.span.column }),
    bots: [],
  };
}

/** What helps against frequent errors of the compiler whose own words do not say it. */
function adviceFor(code: string, message: string): string {
  const { specifier, name } = importIn(message);
  if (isOnlyAboutTypes(code, message)) {
    const types = name.replace('@', '').replace('/', '__');
    return `Types may be in @types/${types}: npm install --save-dev @types/${types}`;
  }
  if (MODULE_NOT_FOUND.has(code) && !/^[./]/.test(specifier)) {
    return `npm install --save-dev ${name}`;
  }
  return '';
}

/**
 * Of a package that is installed, the compiler misses types only. What the bundler cannot find of
 * it is an error of the bundler.
 */
function isOnlyAboutTypes(code: string, message: string): boolean {
  return (
    code === WITHOUT_TYPES || (MODULE_NOT_FOUND.has(code) && isDependency(importIn(message).name))
  );
}

/**
 * What is imported, and the package that it is of, in `Cannot find module 'pdfmake/interfaces'`.
 */
function importIn(message: string): { specifier: string; name: string } {
  const [, specifier = ''] = /'([^']+)'/.exec(message) ?? [];
  return { specifier, name: packageNameIn(specifier) };
}

function isDependency(name: string): boolean {
  const { dependencies, devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    dependencies?: object;
    devDependencies?: object;
  };
  return name in { ...dependencies, ...devDependencies };
}

/**
 * @param findings - of lint
 * @param sources - by bot, the files that its bundle was made of
 * @returns the same, each with the bots that its file concerns
 */
export function attribute(
  findings: readonly Finding[],
  sources: ReadonlyMap<string, readonly string[]>,
): Finding[] {
  const botsByFile = new Map<string, string[]>();
  for (const [bot, files] of sources) {
    for (const file of files) {
      botsByFile.set(file, [...(botsByFile.get(file) ?? []), bot]);
    }
  }
  return findings.map((finding) => ({
    ...finding,
    bots: botsByFile.get(finding.file ?? '') ?? [],
  }));
}
