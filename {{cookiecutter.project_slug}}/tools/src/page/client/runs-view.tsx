// The list of runs, kept up to date while bots run, and the opened run beside it.
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { RunList, RunSummary } from '../api-types.ts';
import { api } from './api.ts';
import { count, formatDuration, formatTime, shortReference } from './format.ts';
import { useConnection, useLive } from './live.ts';
import { attempt } from './notices.tsx';
import { hrefOf, replaceRoute } from './router.ts';
import type { Route } from './router.ts';
import { RunDetailsPanel } from './run-details.tsx';
import { StatusBadge } from './status-badge.tsx';

interface Filter {
  bot: string;
  status: string;
  resource: string;
}

const STATUSES = [
  { value: '', label: 'All' },
  { value: 'running', label: 'Running' },
  { value: 'failed', label: 'Failed' },
  { value: 'succeeded', label: 'Succeeded' },
];
const EMPTY: RunList = { runs: [], total: 0, bots: [] };

export function RunsView({ route }: { route: Route }): VNode {
  const openId = route.path[1];
  const filter: Filter = {
    bot: route.query.get('bot') ?? '',
    status: route.query.get('status') ?? '',
    resource: route.query.get('resource') ?? '',
  };
  const { list, isLoading, loadMore } = useRuns(filter);
  const query = { ...filter };
  const setFilter = (change: Partial<Filter>): void =>
    replaceRoute(hrefOf(openId ? ['runs', openId] : ['runs'], { ...query, ...change }));

  return (
    <div class={openId ? 'split open' : 'split'}>
      <section class="split-list" aria-labelledby="runs-title">
        <div class="view-head">
          <h1 id="runs-title">Runs</h1>
          <p class="dim" id="runs-total">
            {count(list.total, 'run')}
          </p>
        </div>
        <RunFilters filter={filter} bots={list.bots} onChange={setFilter} />
        <RunTable runs={list.runs} openId={openId} query={query} />
        {list.runs.length === 0 && !isLoading && <NoRuns filtered={isFiltered(filter)} />}
        {list.runs.length < list.total && (
          <p class="more">
            <button type="button" onClick={() => void attempt(loadMore)}>
              Show more runs
            </button>
          </p>
        )}
      </section>
      {openId && <RunDetailsPanel key={openId} id={openId} closeHref={hrefOf(['runs'], query)} />}
    </div>
  );
}

/**
 * The runs that match a filter: read page by page, then kept up to date by what the server pushes.
 */
function useRuns(filter: Filter): {
  list: RunList;
  isLoading: boolean;
  loadMore(): Promise<void>;
} {
  const { generation } = useConnection();
  const [list, setList] = useState<RunList>(EMPTY);
  const [isLoading, setLoading] = useState(true);
  const key = JSON.stringify(filter);

  useEffect(() => {
    if (generation === 0) {
      return undefined; // Not connected yet: what is read now would be read again at once.
    }
    let isCurrent = true;
    setLoading(true);
    void attempt(async () => {
      const first = await readRuns(filter, 0);
      if (isCurrent) {
        setList(first);
        setLoading(false);
      }
    });
    return () => {
      isCurrent = false;
    };
  }, [key, generation]);

  useLive('run', (run) => setList((current) => withRun(current, run, filter)), [key]);

  const loadMore = async (): Promise<void> => {
    const next = await readRuns(filter, list.runs.length);
    setList((current) => {
      const known = new Set(current.runs.map(({ id }) => id));
      const runs = [...current.runs, ...next.runs.filter(({ id }) => !known.has(id))];
      return { ...next, runs };
    });
  };
  return { list, isLoading, loadMore };
}

async function readRuns(filter: Filter, offset: number): Promise<RunList> {
  const query = new URLSearchParams({ ...filter, offset: String(offset) });
  return api.get<RunList>(`runs?${query}`);
}

/** Puts a run that started or changed into the list, or takes it out where it no longer matches. */
function withRun(list: RunList, run: RunSummary, filter: Filter): RunList {
  const bots = list.bots.includes(run.bot) ? list.bots : [...list.bots, run.bot].toSorted();
  const index = list.runs.findIndex(({ id }) => id === run.id);
  if (!matches(run, filter)) {
    const runs = list.runs.filter(({ id }) => id !== run.id);
    return { runs, bots, total: list.total - (list.runs.length - runs.length) };
  }
  if (index >= 0) {
    return { ...list, bots, runs: list.runs.with(index, run) };
  }
  const isNewest = list.runs[0] === undefined || run.startedAt >= list.runs[0].startedAt;
  if (!isNewest) {
    return { ...list, bots };
  }
  return { bots, runs: [run, ...list.runs], total: list.total + 1 };
}

function matches(run: RunSummary, { bot, status, resource }: Filter): boolean {
  return (
    (!bot || run.bot === bot) &&
    (!status || run.status === status) &&
    (!resource || (run.resource ?? '').toLowerCase().includes(resource.toLowerCase()))
  );
}

function isFiltered({ bot, status, resource }: Filter): boolean {
  return Boolean(bot || status || resource);
}

interface FiltersProps {
  filter: Filter;
  bots: string[];
  onChange(change: Partial<Filter>): void;
}

function RunFilters({ filter, bots, onChange }: FiltersProps): VNode {
  const known = filter.bot && !bots.includes(filter.bot) ? [...bots, filter.bot] : bots;
  return (
    <form
      class="filters"
      role="search"
      aria-label="Runs"
      onSubmit={(event) => event.preventDefault()}
    >
      <fieldset class="segments">
        <legend class="visually-hidden">Status</legend>
        {STATUSES.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name="status"
              value={value}
              checked={filter.status === value}
              onChange={() => onChange({ status: value })}
            />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      <label class="field">
        <span class="visually-hidden">Bot</span>
        <select
          value={filter.bot}
          onChange={(event) => onChange({ bot: event.currentTarget.value })}
        >
          <option value="">All bots</option>
          {known.map((bot) => (
            <option key={bot} value={bot}>
              {bot}
            </option>
          ))}
        </select>
      </label>
      <label class="field grow">
        <span class="visually-hidden">Resource</span>
        <input
          type="search"
          placeholder="Resource, such as Patient/1f2e"
          value={filter.resource}
          onInput={(event) => onChange({ resource: event.currentTarget.value.trim() })}
        />
      </label>
    </form>
  );
}

interface TableProps {
  runs: RunSummary[];
  openId: string | undefined;
  query: Record<string, string>;
}

function RunTable({ runs, openId, query }: TableProps): VNode | null {
  if (runs.length === 0) {
    return null;
  }
  return (
    <table class="rows runs" aria-labelledby="runs-title" onKeyDown={moveBetweenRows}>
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Bot</th>
          <th scope="col">Trigger</th>
          <th scope="col" class="number">
            Requests
          </th>
          <th scope="col" class="number">
            Duration
          </th>
          <th scope="col" class="number">
            Started
          </th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run) => (
          <RunRow key={run.id} run={run} isOpen={run.id === openId} query={query} />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  run: RunSummary;
  isOpen: boolean;
  query: Record<string, string>;
}

function RunRow({ run, isOpen, query }: RowProps): VNode {
  return (
    <tr class={isOpen ? 'is-open' : ''}>
      <td>
        <StatusBadge status={run.status} />
      </td>
      <td class="main-cell">
        <a
          class="row-link"
          href={hrefOf(['runs', run.id], query)}
          aria-current={isOpen ? 'true' : undefined}
        >
          {run.bot}
        </a>
        {run.error && <span class="row-note bad">{run.error}</span>}
      </td>
      <td>
        <span class="tag">{run.trigger}</span>{' '}
        {run.resource && <code>{shortReference(run.resource)}</code>}
      </td>
      <td class="number">
        {run.requests}
        {run.failedRequests > 0 && <span class="bad"> ({run.failedRequests} failed)</span>}
      </td>
      <td class="number">{run.status === 'running' ? '…' : formatDuration(run.milliseconds)}</td>
      <td class="number">
        <time dateTime={run.startedAt}>{formatTime(run.startedAt)}</time>
      </td>
    </tr>
  );
}

function NoRuns({ filtered }: { filtered: boolean }): VNode {
  if (filtered) {
    return <p class="empty">No run matches these filters.</p>;
  }
  return (
    <div class="empty">
      <p>No bot has run yet.</p>
      <p>
        <a href={hrefOf(['resources', 'new'])}>Create a resource</a> that a bot subscribes to, or{' '}
        <a href={hrefOf(['bots'])}>send an event to a bot</a>.
      </p>
    </div>
  );
}

/** Arrow keys move between the rows of a table, as in a list. */
function moveBetweenRows(event: KeyboardEvent): void {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') {
    return;
  }
  const links = [
    ...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>('.row-link'),
  ];
  const index = links.indexOf(document.activeElement as HTMLElement);
  const next = links[index + (event.key === 'ArrowDown' ? 1 : -1)];
  if (index >= 0 && next) {
    event.preventDefault();
    next.focus();
  }
}
