#!/usr/bin/env node
// Starts the command line. Plain JavaScript that every Node can read: with an old Node, or before
// the packages are installed, it says so in one line instead of failing with a stack trace.
'use strict';

const problem = require('./check-environment.cjs')();
if (problem) {
  console.error('Error: ' + problem);
  process.exitCode = 1;
} else {
  require('./compile-cache.cjs')();
  require('../src/main.ts');
}
