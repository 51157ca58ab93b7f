// `npm run analyze`: what is in each bundle, which shared code no bot uses, and what a change does to the bundles.
import { Command } from 'commander';
import { printAnalysis } from '../bundling/analyze.ts';

export const command = new Command('analyze')
  .description('Show what is in each bundle, and which bots a change of shared code reaches')
  .option('--against <commit>', 'compare with a branch, tag or commit')
  .option('--find <export>', 'which bundles carry this export of src/shared')
  .option('--json', 'print JSON')
  .addHelpText('after', '\nExample: npm run analyze -- --against main')
  .action(printAnalysis);
