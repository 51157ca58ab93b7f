// `npm run build`: lints and type checks what the team writes, and bundles meanwhile; dist/ stays only if all is well.
// One pass does both checks, in half the time of two. tools/ is left to `npm run lint` and `npm run typecheck`.
import { Command } from 'commander';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UserError } from '../terminal/user-error.ts';

const NOT_CLEAN = 'the code has to be lint-free and well typed before it is bundled: see above';

export const command = new Command('build')
  .description('Check the code and bundle every bot into one file in dist/bots')
  .option('--production', 'minify, as for a deployment')
  .addHelpText('after', '\nExample: npm run build -- --production')
  .action(build);

async function build(options: { production?: boolean }): Promise<void> {
  rmSync('dist/manifest.json', { force: true }); // without it nothing is deployed
  const oxlint = fileURLToPath(new URL('../bin/oxlint', import.meta.resolve('oxlint')));
  const flags = ['--type-aware', '--type-check', '--ignore-pattern=tools'];
  const linted = once(spawn(process.execPath, [oxlint, ...flags], { stdio: 'inherit' }), 'close');

  const { sharedExports, undocumented } = await import('../bundling/shared-exports.ts');
  const { bundle, summary } = await import('../../../esbuild-script.mjs');
  const problems = undocumented(sharedExports());
  const built = await bundle(options).catch((error: unknown) => {
    if (!(error instanceof UserError)) throw error;
    problems.push(error.message);
  });
  if ((await linted)[0] !== 0) problems.push(NOT_CLEAN);
  if (!built || problems.length > 0) {
    rmSync('dist', { recursive: true, force: true });
    throw new UserError(problems.join('\n'));
  }
  console.log(summary(built));
}
