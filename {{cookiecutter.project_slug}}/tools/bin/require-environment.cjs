// Ends the process with one line if Node is too old or the packages are missing, and lets Node keep
// what it compiles. Scripts load it before everything else, and load the rest with import(); npm
// scripts load it before a script of TypeScript, so that Node keeps that one, too. Plain JavaScript
// that every Node can read.
//   node --require ./tools/bin/require-environment.cjs scripts/setup-bots-and-subscriptions.ts
'use strict';

const problem = require('./check-environment.cjs')();
if (problem) {
  console.error('Error: ' + problem);
  process.exit(1);
}
require('./compile-cache.cjs')();
