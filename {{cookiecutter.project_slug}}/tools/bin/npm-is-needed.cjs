// Refuses Yarn, which starts the program that .yarnrc.yml names.
'use strict';

console.error('Error: this repository uses npm, and Yarn ignores package-lock.json. Run npm ci.');
process.exitCode = 1;
