// Says in one line what is missing on this machine: a Node that is new enough, or the packages.
// Plain JavaScript that every Node can read.
//   node tools/bin/check-environment.cjs && oxlint
'use strict';

/** The oldest version of each supported release line of Node: `[major, minor]`. */
const OLDEST = [
  [24, 2],
  [26, 0],
];

/**
 * @param {string} version - such as `24.19.0`
 * @returns {boolean} whether it is on a supported release line
 */
function isSupported(version) {
  const parts = version.split('.');
  return OLDEST.some(
    ([major, minor]) => Number(parts[0]) === major && Number(parts[1]) >= Number(minor),
  );
}

/** @returns {boolean} whether `npm ci` has been run */
function isInstalled() {
  try {
    require.resolve('commander');
    return true;
  } catch {
    return false;
  }
}

/** @returns {string | undefined} what the user has to do first, if anything */
module.exports = function checkEnvironment() {
  if (!isSupported(process.versions.node)) {
    const isEarly24 = process.versions.node.startsWith('24.');
    return (
      (isEarly24 ? 'Node 24.2 or newer' : 'Node 24') +
      ' is needed (see .nvmrc); this is ' +
      process.versions.node +
      '. Install it from https://nodejs.org or with a version manager: nvm install.'
    );
  }
  if (!isInstalled()) {
    return 'Run npm ci first: the packages are not installed.';
  }
  return undefined;
};

if (require.main === module) {
  const problem = module.exports();
  if (problem) {
    console.error('Error: ' + problem);
    process.exitCode = 1;
  }
}
