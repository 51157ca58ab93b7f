// The first half of `npm run build`: clears dist, then lints and type checks what the team writes. One pass does both, in
// half the time of two. tools/ is left to `npm run lint` and `npm run typecheck`: checking it would double the time again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { main, UserError } from '../cli.ts';
import { sharedExports, undocumented } from './shared-exports.ts';

await main(async () => {
  rmSync('dist', { recursive: true, force: true });
  const oxlint = fileURLToPath(new URL('../bin/oxlint', import.meta.resolve('oxlint')));
  const linter = spawn(process.execPath, [oxlint, '--type-aware', '--type-check', '--ignore-pattern=tools'], {
    stdio: 'inherit',
  });
  const ended = once(linter, 'close');
  const mistakes = undocumented(sharedExports());
  const [code] = (await ended) as [number | null];
  if (mistakes.length > 0) throw new UserError(mistakes.join('\n'));
  if (code !== 0) throw new UserError('the code has to be lint-free and well typed before it is bundled: see above');
});
