// esbuild's options of the generated repository's esbuild-script.mjs: the bundles are compared byte
// for byte.
import botLayer from '@medplum/bot-layer/package.json' with { type: 'json' };

export const OPTIONS = {
  bundle: true,
  external: Object.keys(botLayer.dependencies),
  platform: 'node',
  target: 'node22',
  format: 'cjs',
  footer: { js: 'Object.assign(exports, module.exports);' },
  sourcemap: true,
  logLevel: 'silent',
};
