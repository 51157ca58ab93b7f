// vite loads this package only to compress style sheets, which bots do not have. See ../README.md.
throw new Error(
  'lightningcss is left out of this repository. ' +
    'Delete tools/replacements/lightningcss and run npm install to build style sheets.',
);
