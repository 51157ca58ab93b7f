#!/usr/bin/env node
// Starts the command line. Plain JavaScript that every Node can read: with an old Node, or before
// the packages are installed, it says so in one line instead of failing with a stack trace.
'use strict';

require('./require-environment.cjs');
require('../src/main.ts');
