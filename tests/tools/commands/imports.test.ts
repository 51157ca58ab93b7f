// Which files of the generated repository import which: arrows point one way, between folders and
// between files.
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve('.');
const IMPORT = /^(?:import|export)\b[^'"]*['"](\.[^'"]+)['"]|\bimport\('(\.[^']+)'\)/gm;

/** The files that each file imports, relative to the repository; types too. */
const graph = new Map(
  globSync('{src,tests,tools/src,scripts}/**/*.{ts,tsx}', { cwd: ROOT }).map((file) => [
    file.replaceAll('\\', '/'),
    importsOf(file),
  ]),
);

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return Array.from(text.matchAll(IMPORT), ([, fixed, dynamic]) =>
    normalize(join(dirname(file), fixed ?? dynamic!)).replaceAll('\\', '/'),
  );
}

/** `tools/src/deploy` of `tools/src/deploy/kinds/bot.ts`; undefined outside of such a folder. */
function folderOf(file: string): string | undefined {
  return /^tools\/src\/[^/]+(?=\/)/.exec(file)?.[0];
}

function importersOf(isWanted: (imported: string) => boolean): string[] {
  return [...graph].flatMap(([file, imports]) =>
    imports.filter((imported) => isWanted(imported)).map((imported) => `${file} -> ${imported}`),
  );
}

/** The files from a file back to itself, along imports. */
function findCircle(file: string, path: string[], seen: Set<string>): string[] | undefined {
  if (path.includes(file)) {
    return [...path.slice(path.indexOf(file)), file];
  }
  if (seen.has(file)) {
    return undefined;
  }
  seen.add(file);
  for (const imported of graph.get(file) ?? []) {
    const circle = findCircle(imported, [...path, file], seen);
    if (circle) {
      return circle;
    }
  }
  return undefined;
}

test('no file imports itself through other files', () => {
  const seen = new Set<string>();
  expect([...graph.keys()].map((file) => findCircle(file, [], seen)).filter(Boolean)).toEqual([]);
});

test('no two folders of the tools import each other', () => {
  const arrows = new Set<string>();
  for (const [file, imports] of graph) {
    for (const imported of imports) {
      const [from, to] = [folderOf(file), folderOf(imported)];
      if (from && to && from !== to) {
        arrows.add(`${from} -> ${to}`);
      }
    }
  }
  expect(arrows.size).toBeGreaterThan(20);
  expect(
    [...arrows].filter((arrow) => arrows.has(arrow.split(' -> ').toReversed().join(' -> '))),
  ).toEqual([]);
});

test('nothing imports a command, and only tests import a bot', () => {
  expect(importersOf((file) => file.startsWith('tools/src/commands/'))).toEqual([]);
  const importers = importersOf((file) => file.startsWith('src/bots/'));
  expect(importers.filter((importer) => !importer.startsWith('tests/'))).toEqual([]);
});

test('src imports neither the tools nor tests', () => {
  const outside = importersOf((file) => /^(tools|tests|scripts)\//.test(file));
  expect(outside.filter((importer) => importer.startsWith('src/'))).toEqual([]);
});
