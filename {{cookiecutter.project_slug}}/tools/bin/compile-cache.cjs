// Lets Node keep what it has compiled, which halves the start of a command.
'use strict';

const path = require('path');

/**
 * Turns Node's compile cache on, in this repository's own node_modules: a shared temporary folder
 * is not private.
 */
module.exports = function useCompileCache() {
  const packages = path.dirname(path.dirname(require.resolve('commander')));
  require('module').enableCompileCache(path.join(packages, '.cache', 'medplum-bots'));
};
