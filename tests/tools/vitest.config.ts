// These tests are copied into a generated repository as tooling-tests/, and run there.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tooling-tests/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'tooling-tests/adopt/example/**'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
