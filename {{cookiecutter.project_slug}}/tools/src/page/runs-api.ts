// The routes about runs: the list, one run, its log, and running it again.
import { Hono } from 'hono';
import type { MedplumServer } from '../medplum/server.ts';
import type { Run } from '../medplum/bot-runs.ts';
import type { RunList } from './api-types.ts';
import { PageError } from './page-error.ts';
import { runAgain } from './run-bot.ts';
import type { RunSources } from './run-sources.ts';
import { resourceOf, toDetails, toLogPart, toSummary } from './run-views.ts';

const RUNS_A_PAGE = 50;

interface RunFilter {
  bot: string | undefined;
  status: string | undefined;
  /** Part of a reference such as `Patient/123`, in any case. */
  resource: string | undefined;
}

export function runsApi(server: MedplumServer, sources: RunSources): Hono {
  const api = new Hono();

  const findRun = (id: string): Run => {
    const run = server.runs.get(id);
    if (!run) {
      throw new PageError(
        404,
        'This run is no longer there: the server keeps the latest runs only, until it stops.',
      );
    }
    return run;
  };

  api.get('/', (c) => {
    const { bot, status, resource, offset = '0' } = c.req.query();
    const all = server.runs.list();
    const matching = all.filter((run) => matches(run, { bot, status, resource }));
    const from = Number.parseInt(offset, 10) || 0;
    const list: RunList = {
      runs: matching.slice(from, from + RUNS_A_PAGE).map(toSummary),
      total: matching.length,
      bots: [...new Set(all.map((run) => run.bot.name ?? run.bot.id))].toSorted(),
    };
    return c.json(list);
  });
  api.get('/:id', (c) => c.json(toDetails(findRun(c.req.param('id')), sources)));
  api.get('/:id/log', (c) => {
    const before = c.req.query('before');
    const end = before === undefined ? undefined : Number.parseInt(before, 10);
    return c.json(toLogPart(findRun(c.req.param('id')), sources, end));
  });
  api.post('/:id/again', async (c) => {
    return c.json({ id: await runAgain(server, findRun(c.req.param('id'))) });
  });
  return api;
}

function matches(run: Run, { bot, status, resource }: RunFilter): boolean {
  return (
    (!bot || (run.bot.name ?? run.bot.id) === bot) &&
    (!status || run.state === status) &&
    (!resource || (resourceOf(run) ?? '').toLowerCase().includes(resource.toLowerCase()))
  );
}
