// `npm run build`: lints and type checks the code, and bundles in the meantime. A bot with an error
// is left out of dist/; the others are there, and the exit code is 1.
import { Command } from 'commander';
import { rmSync } from 'node:fs';

const OUTDIR = 'dist/bots';

interface BuildOptions {
  production?: boolean;
  verbose?: boolean;
}

export const command = new Command('build')
  .description('Check the code and bundle every bot into one file in dist/bots')
  .option('--production', 'minify, as for a deployment')
  .option('--verbose', 'show every error and warning')
  .addHelpText(
    'after',
    '\nExample: npm run build -- --production\n' +
      'Exit codes: 0 all bots are built, 1 there is an error; dist/ has the bots without one.',
  )
  .action(build);

async function build({ production = false, verbose = false }: BuildOptions): Promise<void> {
  rmSync('dist/manifest.json', { force: true }); // without it nothing is deployed
  const { attribute, lint } = await import('../bundling/lint.ts');
  const linting = lint();
  const { settle, withoutThrowing } = await import('../bundling/bundle-bots.ts');
  const { asErrors, mergeFindings, withoutRepeats } = await import('../bundling/finding.ts');
  const { reportLines } = await import('../bundling/report.ts');
  const { sharedExports, undocumented } = await import('../bundling/shared-exports.ts');
  const { bundle, summary } = await import('../../../esbuild-script.mjs');
  const { loadConfig } = await import('../config/config.ts');
  const { runChecks } = await import('../checks.ts');

  const bundled = await withoutThrowing(() => bundle({ production, outdir: OUTDIR }));
  const { bots, strictness } = loadConfig();
  const sources = new Map(
    bots.map((bot) => [bot.name, [bot.source, ...(bundled.sources.get(bot.name) ?? [])]]),
  );
  const checked = attribute([...(await linting), ...undocumented(sharedExports())], sources);
  const findings = mergeFindings([
    ...bundled.findings,
    ...(await runChecks(bots)),
    ...(strictness === 'strict' ? asErrors(checked) : checked),
  ]);
  const built = await withoutThrowing(() =>
    settle({ ...bundled, findings: withoutRepeats(findings) }, OUTDIR),
  );
  for (const line of reportLines(built.findings, verbose)) {
    console.error(line);
  }
  console.log(summary(built));
  if (built.findings.some(({ severity }) => severity === 'error')) {
    process.exitCode = 1;
  }
}
