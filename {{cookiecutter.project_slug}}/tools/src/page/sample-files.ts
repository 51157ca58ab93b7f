// The JSON files of this repository that hold resources, bundles and events: read for the page, and
// written from it.
import { isResource } from '@medplum/core';
import { existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SampleFile } from './api-types.ts';
import { PageError } from './page-error.ts';

const FOLDERS = ['tests/**/*.json', 'resources/**/*.json'];
const EVENTS_FOLDER = join('tests', 'events');
const MAX_FILES = 500;
const MAX_BYTES = 1024 * 1024;

/** @returns the sample files of the repository, in the order of their paths */
export function listSamples(): SampleFile[] {
  return samplePaths().flatMap((path) => {
    const described = describe(path, parseFile(path));
    return described ? [described] : [];
  });
}

/** @throws PageError where the path is not one of the sample files */
export function readSample(path: string): unknown {
  if (!samplePaths().includes(path)) {
    throw new PageError(404, `${path} is not one of the sample files.`);
  }
  return parseFile(path);
}

/**
 * Writes tests/events/<name>.json.
 *
 * @returns the path of the file
 * @throws PageError where the name is not a file name, or the file exists and may not be replaced
 */
export function saveEvent(name: string, event: unknown, replace: boolean): string {
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
    throw new PageError(
      400,
      'The name must be lower-case letters, digits and single dashes, like "patient-created".',
    );
  }
  const path = join(EVENTS_FOLDER, `${name}.json`);
  if (existsSync(path) && !replace) {
    throw new PageError(409, `${slashes(path)} exists. Choose another name, or replace it.`);
  }
  mkdirSync(EVENTS_FOLDER, { recursive: true });
  writeFileSync(path, `${JSON.stringify(event, null, 2)}\n`);
  return slashes(path);
}

function samplePaths(): string[] {
  return globSync(FOLDERS, { exclude: (path) => path.includes('node_modules') })
    .map(slashes)
    .toSorted()
    .slice(0, MAX_FILES);
}

function parseFile(path: string): unknown {
  try {
    return statSync(path).size > MAX_BYTES ? undefined : JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function describe(path: string, content: unknown): SampleFile | undefined {
  if (isResource(content)) {
    const kind = content.resourceType === 'Bundle' ? 'bundle' : 'resource';
    return { path, kind, type: content.resourceType };
  }
  if (typeof content === 'object' && content !== null && 'input' in content) {
    const { input } = content;
    return { path, kind: 'event', type: isResource(input) ? input.resourceType : undefined };
  }
  return undefined;
}

/** Paths are written with `/` on every system. */
function slashes(path: string): string {
  return path.replaceAll('\\', '/');
}
