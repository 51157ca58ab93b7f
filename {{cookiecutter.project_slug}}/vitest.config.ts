// Test files share one process, which takes half the time. What a test changes outside of itself, vitest puts back.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['tests/**/*.test.ts'], isolate: false, restoreMocks: true, unstubGlobals: true, unstubEnvs: true },
});
