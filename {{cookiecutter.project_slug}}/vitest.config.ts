// Tests next to the code and in tests/. Each test file has its own process, as vitest does by
// default.
import { defineConfig } from 'vitest/config';
import { textFiles } from './tools/src/bundling/text-files.ts';

export default defineConfig({
  plugins: [textFiles()],
  test: {
    include: ['{src,tests}/**/*.{test,spec}.?(c|m)ts'],
    maxWorkers: '100%', // of the processor's cores; vitest would leave one of two unused
    restoreMocks: true,
    // A local Medplum bundles the bots first, which may take a while on a busy machine.
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
