// Tests of the built bots against a real HAPI server; test_sync_hapi.py lays them into a baked
// repository.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['server-tests/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    fileParallelism: false,
  },
});
