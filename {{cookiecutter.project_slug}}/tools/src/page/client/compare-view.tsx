// What Medplum and the external FHIR server hold of one type, side by side, and faults of the
// external server.
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import type { Comparison, ComparisonPair, ComparisonState, TypeCount } from '../api-types.ts';
import { api } from './api.ts';
import { DiffView } from './diff-view.tsx';
import { FaultsPanel } from './faults-panel.tsx';
import { count, shortReference } from './format.ts';
import { useLive } from './live.ts';
import { hrefOf, navigate } from './router.ts';
import type { Route } from './router.ts';
import { useLoaded } from './use-loaded.ts';

const STATES: Record<ComparisonState, string> = {
  same: 'Same',
  different: 'Different',
  'only-medplum': 'Only in Medplum',
  'only-external': 'Only on the external server',
};
/** The external server does not tell the page about changes, so it is asked again. */
const REFRESH_MILLISECONDS = 1000;
const DEFAULT_TYPE = 'Patient';

export function CompareView({ route }: { route: Route }): VNode {
  const [, type = DEFAULT_TYPE, id] = route.path;
  const state = route.query.get('state') ?? '';
  return (
    <div class={id ? 'split open' : 'split'}>
      <section class="split-list" aria-labelledby="compare-title">
        <div class="view-head">
          <h1 id="compare-title">Medplum and the external FHIR server</h1>
        </div>
        <ComparisonList key={type} type={type} state={state} openId={id} />
        <FaultsPanel />
      </section>
      {id && (
        <PairPanel
          key={`${type}/${id}`}
          type={type}
          id={id}
          closeHref={hrefOf(['compare', type], { state })}
        />
      )}
    </div>
  );
}

interface ComparisonListProps {
  type: string;
  state: string;
  openId: string | undefined;
}

function ComparisonList({ type, state, openId }: ComparisonListProps): VNode {
  const { data, reload } = useLoaded<Comparison>(
    async () => api.get(`comparison/${type}?${new URLSearchParams({ state })}`),
    [type, state],
  );
  useRepeatedly(reload);
  const rows = data?.rows ?? [];
  return (
    <>
      <TypeAndState type={type} state={state} comparison={data} />
      {rows.length > 0 && (
        <table class="rows" aria-label={`${type} resources on both servers`}>
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Medplum</th>
              <th scope="col">External server</th>
              <th scope="col">State</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => {
              const id = (row.medplumId ?? row.externalId)!;
              return (
                <tr key={id} class={id === openId ? 'is-open' : ''}>
                  <td class="main-cell">
                    <a
                      class="row-link"
                      href={hrefOf(['compare', type, id], { state })}
                      aria-current={id === openId ? 'true' : undefined}
                    >
                      {row.title || `${type} ${id.slice(0, 8)}`}
                    </a>
                  </td>
                  <td>{row.medplumId && <code>{shortReference(row.medplumId)}</code>}</td>
                  <td>{row.externalId && <code>{shortReference(row.externalId)}</code>}</td>
                  <td>
                    <span class={row.state === 'same' ? 'good' : 'warn'}>{STATES[row.state]}</span>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {data && rows.length === 0 && (
        <p class="empty">{state ? 'None.' : `Neither server has a ${type} yet.`}</p>
      )}
      {data && data.total > rows.length && (
        <p class="dim">
          The first {count(rows.length, 'row')} of {data.total}.
        </p>
      )}
    </>
  );
}

interface TypeAndStateProps {
  type: string;
  state: string;
  comparison: Comparison | undefined;
}

function TypeAndState({ type, state, comparison }: TypeAndStateProps): VNode {
  const medplum = useLoaded<{ types: TypeCount[] }>(async () => api.get('resources'), []);
  const external = useLoaded<{ types: TypeCount[] }>(async () => api.get('comparison'), []);
  useLive('resources', medplum.reload, []);
  const counted = [...(medplum.data?.types ?? []), ...(external.data?.types ?? [])];
  const types = [...new Set([type, ...counted.map((entry) => entry.type)])].toSorted();
  return (
    <form
      class="filters"
      role="search"
      aria-label="Comparison"
      onSubmit={(event) => event.preventDefault()}
    >
      <label class="field">
        <span class="visually-hidden">Type</span>
        <select
          value={type}
          onChange={(event) => navigate(hrefOf(['compare', event.currentTarget.value]))}
        >
          {types.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span class="visually-hidden">State</span>
        <select
          value={state}
          onChange={(event) =>
            navigate(hrefOf(['compare', type], { state: event.currentTarget.value }))
          }
        >
          <option value="">All states</option>
          {Object.entries(STATES).map(([value, label]) => (
            <option key={value} value={value}>
              {label} ({comparison?.counts[value as ComparisonState] ?? 0})
            </option>
          ))}
        </select>
      </label>
    </form>
  );
}

interface PairPanelProps {
  type: string;
  id: string;
  closeHref: string;
}

function PairPanel({ type, id, closeHref }: PairPanelProps): VNode {
  const { data, error, reload } = useLoaded<ComparisonPair>(
    async () => api.get(`comparison/${type}/${id}`),
    [type, id],
  );
  useRepeatedly(reload);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <section class="split-details" aria-labelledby="pair-title">
      <p class="back">
        <a href={closeHref}>
          <span aria-hidden="true">✕ </span>Close
        </a>
      </p>
      <h1 id="pair-title" ref={heading} tabIndex={-1}>
        {type} <code>{id}</code>
      </h1>
      <p class="dim">
        Lines with <code>-</code> are in Medplum only, lines with <code>+</code> on the external
        server only. Ids, <code>meta</code> and the identifier with Medplum's id are left out.
      </p>
      {error && <p class="empty">{error}</p>}
      {data && <DiffView before={data.medplum} after={data.external} label="Differences" />}
    </section>
  );
}

/** Calls back every second while the page can be seen. */
function useRepeatedly(action: () => void): void {
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) {
        action();
      }
    }, REFRESH_MILLISECONDS);
    return () => clearInterval(timer);
  }, []);
}
