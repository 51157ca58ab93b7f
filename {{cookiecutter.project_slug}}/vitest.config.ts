// Tests next to the code and in tests/. Each test file has its own process, as vitest does by
// default.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { textFiles } from './tools/src/bundling/text-files.ts';

// Node keeps the compiled code of packages there, so the processes of the next run start faster.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules/.cache/node');

export default defineConfig({
  plugins: [textFiles()],
  test: {
    include: ['{src,tests}/**/*.{test,spec}.?(c|m)ts'],
    // As with packages, Node loads the tooling itself, and keeps what it compiled. The repository
    // may lie in a folder of that name: then its own src/ and tests/ come after it.
    server: { deps: { external: [/\/tools\/src\/(?!.*\/(src|tests)\/)/] } },
    // One more than the processor has cores, as a test often waits for a server that it started.
    maxWorkers: availableParallelism() + 1,
    // A local Medplum bundles the bots first, which may take a while on a busy machine.
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
