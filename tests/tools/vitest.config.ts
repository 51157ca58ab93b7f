// These tests are copied into a generated repository as tooling-tests/, and run there.
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tooling-tests/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'tooling-tests/adopt/example/**'],
    globalSetup: join(import.meta.dirname, 'shared-tools.ts'),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
