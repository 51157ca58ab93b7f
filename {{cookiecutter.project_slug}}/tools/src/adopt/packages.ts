// The npm packages that adopted files import, and which of them are still missing here.
import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { BOT_LAYER_VERSIONS } from '../config/bot-layer.ts';
import type { SourceRepository } from './source-repository.ts';

/** Jest's functions become those of vitest. */
const REPLACED = ['@jest/globals'];

export interface NeededPackages {
  /** To be installed: exact versions, by name. */
  versions: Record<string, string>;
  /** Those whose version the adopted repository does not say. */
  unknown: string[];
}

interface PackageJson {
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

/**
 * @param repository - that is adopted
 * @param files - of it that are adopted
 * @param root - the folder of this repository
 */
export function neededPackages(
  repository: SourceRepository,
  files: Iterable<string>,
  root: string,
): NeededPackages {
  const wanted = repository.packages();
  const present = installedPackages(root);
  const names = importedPackages(repository, files);
  const versions: Record<string, string> = {};
  const unknown: string[] = [];
  for (const name of [...names].toSorted((a, b) => a.localeCompare(b))) {
    if (REPLACED.includes(name)) {
      continue;
    }
    if (name in present && !present[name]!.startsWith('file:')) {
      continue;
    }
    const version = versionFor(name, wanted, present);
    if (version === undefined) {
      unknown.push(name);
      continue;
    }
    versions[name] = version;
    const types = `@types/${name.replace('@', '').replace('/', '__')}`;
    const typesVersion = exactVersion(wanted[types]);
    if (typesVersion !== undefined && !(types in present)) {
      versions[types] = typesVersion;
    }
  }
  return { versions, unknown };
}

function installedPackages(root: string): Record<string, string> {
  const text = readFileSync(join(root, 'package.json'), 'utf8');
  const { dependencies, devDependencies } = JSON.parse(text) as PackageJson;
  return { ...dependencies, ...devDependencies };
}

function importedPackages(repository: SourceRepository, files: Iterable<string>): Set<string> {
  const names = new Set<string>();
  for (const file of files) {
    for (const { specifier, target } of repository.imports(file)) {
      const name = /^(@[^/]+\/[^/]+|[^@./][^/]*)/.exec(specifier)?.[1];
      if (target === undefined && name !== undefined && !isBuiltin(specifier) && !isBuiltin(name)) {
        names.add(name);
      }
    }
  }
  return names;
}

/**
 * Packages of Medplum fit together in one version only: that of @medplum/core here. What the bot
 * layer has without the repository naming it comes in the version of the bot layer.
 */
function versionFor(
  name: string,
  wanted: Record<string, string>,
  present: Record<string, string>,
): string | undefined {
  if (name.startsWith('@medplum/') && (name in wanted || name in BOT_LAYER_VERSIONS)) {
    return present['@medplum/core'];
  }
  return exactVersion(wanted[name]) ?? BOT_LAYER_VERSIONS[name];
}

/** `^1.2.3` -> `1.2.3`; undefined for what names no version, such as `*` or `workspace:*`. */
function exactVersion(range: string | undefined): string | undefined {
  return /^[~^>=v\s]*(\d+\.\d+\.\d+(?:-[\w.]+)?)/.exec(range ?? '')?.[1];
}
