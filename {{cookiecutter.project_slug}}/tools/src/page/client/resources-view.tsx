// The resources of the local Medplum: the types, the list of one type, and the opened resource
// beside it.
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ResourceList, TypeCount } from '../api-types.ts';
import { api } from './api.ts';
import { count, formatTime, shortReference } from './format.ts';
import { useLive } from './live.ts';
import { NewResource } from './new-resource.tsx';
import { hrefOf, navigate, replaceRoute } from './router.ts';
import type { Route } from './router.ts';
import { ResourcePanel } from './resource-panel.tsx';
import { useLoaded } from './use-loaded.ts';

const ROWS_A_PAGE = 50;
/** What is shown first. */
const DEFAULT_TYPE = 'Patient';

export function ResourcesView({ route }: { route: Route }): VNode {
  const types = useLoaded<{ types: TypeCount[] }>(async () => api.get('resources'), []);
  useLive('resources', types.reload, []);
  const [, given, id] = route.path;
  if (given === 'new') {
    return <NewResource type={route.query.get('type') ?? undefined} />;
  }
  const counts = types.data?.types ?? [];
  const type = given ?? DEFAULT_TYPE;
  return (
    <div class={id ? 'split open' : 'split'}>
      <section class="split-list" aria-labelledby="resources-title">
        <div class="view-head">
          <h1 id="resources-title">Resources</h1>
          <a class="button primary" href={hrefOf(['resources', 'new'], { type })}>
            New resource
          </a>
        </div>
        <TypedList
          key={type}
          type={type}
          counts={counts}
          openId={id}
          search={route.query.get('search') ?? ''}
        />
      </section>
      {id && (
        <ResourcePanel
          key={`${type}/${id}`}
          type={type}
          id={id}
          closeHref={hrefOf(['resources', type], { search: route.query.get('search') ?? '' })}
        />
      )}
    </div>
  );
}

interface TypedListProps {
  type: string;
  counts: TypeCount[];
  openId: string | undefined;
  search: string;
}

function TypedList({ type, counts, openId, search }: TypedListProps): VNode {
  const [offset, setOffset] = useState(0);
  useEffect(() => setOffset(0), [search]);
  const { data, error, reload } = useLoaded<ResourceList>(async () => {
    const query = new URLSearchParams({ search, offset: String(offset) });
    return api.get(`resources/${type}?${query}`);
  }, [type, search, offset]);
  useLive('resources', ({ types }) => types.includes(type) && reload(), [type]);
  const rows = data?.rows ?? [];
  return (
    <>
      <SearchForm type={type} counts={counts} openId={openId} search={search} />
      {error && (
        <p class="banner bad" role="status">
          {error}
        </p>
      )}
      {rows.length > 0 && <ResourceTable type={type} rows={rows} openId={openId} search={search} />}
      {data && rows.length === 0 && (
        <p class="empty">{search ? 'Nothing matches this search.' : `There is no ${type} yet.`}</p>
      )}
      {data && data.total > ROWS_A_PAGE && (
        <Pages total={data.total} offset={offset} onChange={setOffset} />
      )}
    </>
  );
}

function SearchForm({ type, counts, openId, search }: TypedListProps): VNode {
  const known = counts.some((entry) => entry.type === type)
    ? counts
    : [{ type, count: 0 }, ...counts];
  const path = openId ? ['resources', type, openId] : ['resources', type];
  return (
    <form
      class="filters"
      role="search"
      aria-label="Resources"
      onSubmit={(event) => event.preventDefault()}
    >
      <label class="field">
        <span class="visually-hidden">Type</span>
        <select
          value={type}
          onChange={(event) => navigate(hrefOf(['resources', event.currentTarget.value]))}
        >
          {known.map((entry) => (
            <option key={entry.type} value={entry.type}>
              {entry.type} ({entry.count})
            </option>
          ))}
        </select>
      </label>
      <label class="field grow">
        <span class="visually-hidden">Search</span>
        <input
          type="search"
          value={search}
          placeholder="Any text, or a FHIR search such as name=ada"
          onInput={(event) => replaceRoute(hrefOf(path, { search: event.currentTarget.value }))}
        />
      </label>
    </form>
  );
}

interface ResourceTableProps {
  type: string;
  rows: ResourceList['rows'];
  openId: string | undefined;
  search: string;
}

function ResourceTable({ type, rows, openId, search }: ResourceTableProps): VNode {
  return (
    <table class="rows" aria-label={`${type} resources`}>
      <thead>
        <tr>
          <th scope="col">Name</th>
          <th scope="col">Id</th>
          <th scope="col">Status</th>
          <th scope="col" class="number">
            Updated
          </th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.id} class={row.id === openId ? 'is-open' : ''}>
            <td class="main-cell">
              <a
                class="row-link"
                href={hrefOf(['resources', row.type, row.id], { search })}
                aria-current={row.id === openId ? 'true' : undefined}
              >
                {row.title || `${row.type} ${row.id.slice(0, 8)}`}
              </a>
            </td>
            <td>
              <code title={row.id}>{shortReference(row.id)}</code>
            </td>
            <td>{row.status}</td>
            <td class="number">
              <time dateTime={row.lastUpdated}>{formatTime(row.lastUpdated)}</time>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface PagesProps {
  total: number;
  offset: number;
  onChange(offset: number): void;
}

function Pages({ total, offset, onChange }: PagesProps): VNode {
  const last = Math.min(offset + ROWS_A_PAGE, total);
  return (
    <nav class="more" aria-label="Pages">
      <button
        type="button"
        disabled={offset === 0}
        onClick={() => onChange(Math.max(0, offset - ROWS_A_PAGE))}
      >
        Newer
      </button>
      <span>
        {offset + 1} to {last} of {count(total, 'resource')}
      </span>
      <button type="button" disabled={last >= total} onClick={() => onChange(offset + ROWS_A_PAGE)}>
        Older
      </button>
    </nav>
  );
}
