// The requests of a run in the order they were sent, each with a bar that shows when it was under
// way.
import type { VNode } from 'preact';
import type { RequestView, RunDetails } from '../api-types.ts';
import { count, formatDuration, shortReference } from './format.ts';

/** A bar is never thinner than this, in percent, so that a short request can be seen. */
const SHORTEST_BAR = 0.6;

export function Timeline({ run }: { run: RunDetails }): VNode {
  if (run.timeline.length === 0) {
    return (
      <p class="dim">
        {run.status === 'running' ? 'No request so far.' : 'The bot sent no requests.'}
      </p>
    );
  }
  const ends = run.timeline.map(({ offset, milliseconds }) => offset + milliseconds);
  const elapsed =
    run.status === 'running' ? Date.now() - Date.parse(run.startedAt) : run.milliseconds;
  const total = Math.max(elapsed, ...ends, 1);
  return (
    <>
      <table class="timeline">
        <caption class="visually-hidden">Requests in the order they were sent</caption>
        <thead>
          <tr>
            <th scope="col">Request</th>
            <th scope="col">Status</th>
            <th scope="col" class="number">
              Time
            </th>
            <th scope="col" class="bar-cell" aria-hidden="true">
              <span class="scale">
                <span>0</span>
                <span>{formatDuration(total / 2)}</span>
                <span>{formatDuration(total)}</span>
              </span>
            </th>
          </tr>
        </thead>
        <tbody>
          {run.timeline.map((request, index) => (
            <RequestRow key={index} request={request} total={total} />
          ))}
        </tbody>
      </table>
      {run.requestsNotKept > 0 && (
        <p class="dim">{count(run.requestsNotKept, 'more request')} not kept.</p>
      )}
    </>
  );
}

function RequestRow({ request, total }: { request: RequestView; total: number }): VNode {
  const { status, failure, failed } = request;
  const isAnswered = failure !== undefined || status !== undefined;
  const isMedplum = request.target === 'Medplum';
  const left = Math.min((request.offset / total) * 100, 100 - SHORTEST_BAR);
  const width = Math.max((request.milliseconds / total) * 100, SHORTEST_BAR);
  const place = { left: `${left}%`, width: `${width}%` };
  return (
    <tr class={failed ? 'is-failed' : ''}>
      <td class="request-cell">
        <span class={isMedplum ? 'target medplum' : 'target elsewhere'}>{request.target}</span>{' '}
        <span class="method">{request.method}</span>{' '}
        <code title={request.path}>
          {shortReference(request.path.replace(/^\/fhir\/R4\//, ''))}
        </code>
        {(request.clientMethod ?? request.place) && (
          <span class="row-note dim">
            {request.clientMethod && <code>medplum.{request.clientMethod}</code>}
            {request.place && ` ${request.place}`}
          </span>
        )}
      </td>
      <td>
        <span class={statusClass(request)}>{failure ?? status ?? 'waiting'}</span>
      </td>
      <td class="number">{isAnswered ? formatDuration(request.milliseconds) : ''}</td>
      <td class="bar-cell" aria-hidden="true">
        <span class="track">
          <span class={isMedplum ? 'bar medplum' : 'bar elsewhere'} style={place} />
        </span>
      </td>
    </tr>
  );
}

function statusClass({ failed, status }: RequestView): string {
  if (failed) {
    return 'bad';
  }
  return status !== undefined && status >= 400 ? 'warn' : 'good';
}
