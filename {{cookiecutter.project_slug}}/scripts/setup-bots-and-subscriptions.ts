// `npm run setup:bots`: deploys what dist/ holds to Medplum, bots and subscriptions, and says what it did and why.
// Safe to run again at any time: it writes only what differs. What it is made of: tools/deploy/.
import { UserError, main, readArgs } from '../tools/cli.ts';

await main(async () => {
  const { values } = readArgs({
    options: {
      env: { type: 'string' },
      only: { type: 'string' },
      prune: { type: 'boolean' },
      force: { type: 'boolean' },
      yes: { type: 'boolean' },
      concurrency: { type: 'string' },
    },
  });
  const { env, concurrency = '8', ...options } = values;
  if (!/^[1-9]\d?$/.test(concurrency))
    throw new UserError(`--concurrency ${concurrency}: has to be a number from 1 to 99.`);
  const { deploy } = await import('../tools/deploy/deploy.ts');
  const { changed, failed } = await deploy({
    ...options,
    ...(env !== undefined && { environment: env }),
    concurrency: Number(concurrency),
  });
  if (failed.length > 0) throw new UserError(failed.map(({ name, message }) => `${name}: ${message}.`).join('\n'));
  const done = changed.length > 20 ? `${changed.length} bots` : changed.join(', ');
  console.log(done ? `Done: ${done}.` : 'Nothing to do.');
});
