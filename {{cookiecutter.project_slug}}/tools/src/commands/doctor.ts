// `npm run doctor`: looks at everything and changes nothing.
import { Command } from 'commander';
import type { Finding, Level } from '../deploy/doctor.ts';
import { green, red, yellow } from '../terminal/output.ts';

interface Options {
  env?: string;
  json?: boolean;
}

const SIGNS: Record<Level, string> = { ok: green('✓'), warning: yellow('!'), error: red('x') };

export const command = new Command('doctor')
  .description('Look at this machine, the repository and the server; changes nothing')
  .option('--env <name>', 'the environment whose .env.<name> is read (default: local)')
  .option('--json', 'print the findings as JSON')
  .addHelpText(
    'after',
    '\nExample: npm run doctor -- --env production\nExit codes: 0 no error was found, 1 an error was found.',
  )
  .action(doctor);

async function doctor({ env, json }: Options): Promise<void> {
  const { examine } = await import('../deploy/doctor.ts');
  const findings = await examine(env);
  if (json) {
    console.log(JSON.stringify(findings, null, 2));
  } else {
    findings.forEach(print);
  }
  process.exitCode = findings.some(({ level }) => level === 'error') ? 1 : 0;
}

function print({ level, text }: Finding): void {
  console.log(`${SIGNS[level]} ${text}`);
}
