// `npm run demo`: shows the bots at work once. Exit 0 only if they did what they should.
import { Command } from 'commander';
import { runDemo } from '../demo/demo.ts';

export const command = new Command('demo')
  .description('Start local servers, deploy, and show a patient being created, updated and deleted')
  .addHelpText('after', '\nExample: npm run demo')
  .action(async () => {
    const succeeded = await runDemo();
    process.exitCode = succeeded ? 0 : 1;
  });
