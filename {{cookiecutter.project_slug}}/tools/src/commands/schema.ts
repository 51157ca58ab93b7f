// `medplum-bots schema`: the JSON Schema that editors complete and check medplum.config.json with.
import { Command } from 'commander';
import { writeFileSync } from 'node:fs';
import { schemaText } from '../config/config.ts';

const FILE = 'medplum.config.schema.json';

export const command = new Command('schema')
  .description(`Write ${FILE}, which editors check medplum.config.json with`)
  .addHelpText('after', '\nExample: npx medplum-bots schema')
  .action(() => writeFileSync(FILE, schemaText()));
