// The command line `medplum-bots`.
import { runCommandLine } from './command-line.ts';
import { createProgram } from './program.ts';

void runCommandLine(() => createProgram(process.argv[2]));
