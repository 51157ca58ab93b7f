// Ends the process with one line if Node is too old or the packages are missing. Scripts load it
// before everything else, and load the rest with import(). Plain JavaScript that every Node can
// read.
'use strict';

const problem = require('./check-environment.cjs')();
if (problem) {
  console.error('Error: ' + problem);
  process.exit(1);
}
require('./compile-cache.cjs')();
