// `npm run doctor`: looks at everything and changes nothing.
import { Command } from 'commander';
import { existsSync } from 'node:fs';
import type { Finding, Level } from '../deploy/doctor.ts';
import { green, printable, red, yellow } from '../terminal/output.ts';
import { UserError } from '../terminal/user-error.ts';

interface Options {
  env?: string;
  json?: boolean;
  target?: boolean;
}

/** Comes with the sync examples: tools/src/sync/examine-target.ts. */
interface TargetModule {
  examineTarget(environment: string | undefined): Promise<Finding[]>;
}

const SIGNS: Record<Level, string> = { ok: green('✓'), warning: yellow('!'), error: red('x') };

export const command = new Command('doctor')
  .description('Look at this machine, the repository and the server; changes nothing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--json', 'print the findings as JSON')
  .option('--target', 'with the sync examples: check what they need of the external FHIR server')
  .addHelpText(
    'after',
    '\nExample: npm run doctor -- --env production\n' +
      'Exit codes: 0 no error was found, 1 an error was found.',
  )
  .action(doctor);

async function doctor({ env, json, target }: Options): Promise<void> {
  const { examine } = await import('../deploy/doctor.ts');
  const findings = await examine(env);
  if (target) {
    findings.push(...(await examineTarget(env)));
  }
  if (json) {
    console.log(JSON.stringify(findings, null, 2));
  } else {
    findings.forEach(print);
  }
  process.exitCode = findings.some(({ level }) => level === 'error') ? 1 : 0;
}

/** What the sync needs of the external FHIR server; see docs/syncing.md. */
async function examineTarget(environment: string | undefined): Promise<Finding[]> {
  const file = new URL('../sync/examine-target.ts', import.meta.url);
  if (!existsSync(file)) {
    throw new UserError('--target needs hapi-sync-bot, which this repository does not have');
  }
  const module = (await import(file.href)) as TargetModule;
  return module.examineTarget(environment);
}

function print({ level, text }: Finding): void {
  console.log(`${SIGNS[level]} ${printable(text)}`);
}
