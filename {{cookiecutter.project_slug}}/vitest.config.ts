// Test files share processes, which takes half the time. What a test changes outside of itself, vitest puts back.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    setupFiles: ['tests/setup.ts'],
    isolate: false,
    maxWorkers: '100%', // of the processor's cores; vitest would leave one of two unused
    restoreMocks: true,
    unstubGlobals: true,
    unstubEnvs: true,
  },
});
