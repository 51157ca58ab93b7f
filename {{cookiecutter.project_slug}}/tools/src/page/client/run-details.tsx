// Everything about one run: error, timeline, log, result and event, and running it again.
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { RunDetails, RunError } from '../api-types.ts';
import { api } from './api.ts';
import { ErrorExcerpt } from './error-excerpt.tsx';
import { SaveEventDialog, SendEventDialog } from './event-dialogs.tsx';
import { formatDuration, formatTime, shortReference } from './format.ts';
import { JsonView } from './json-view.tsx';
import { useLive } from './live.ts';
import { LogView } from './log-view.tsx';
import { attempt, notify } from './notices.tsx';
import { Panel } from './panel.tsx';
import { hrefOf, navigate } from './router.ts';
import { StatusBadge } from './status-badge.tsx';
import { Timeline } from './timeline.tsx';
import { useLoaded } from './use-loaded.ts';

/** While a bot runs, its time so far is counted on. */
const TICK_MILLISECONDS = 200;

export function RunDetailsPanel({ id, closeHref }: { id: string; closeHref: string }): VNode {
  const {
    data: run,
    error,
    reload,
  } = useLoaded<RunDetails>(async () => api.get(`runs/${id}`), [id]);
  useLive('run', (changed) => changed.id === id && reload(), [id]);
  const heading = useRef<HTMLHeadingElement>(null);
  const isLoaded = run !== undefined;

  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, [isLoaded]);

  return (
    <section class="split-details" aria-labelledby="run-title">
      <p class="back">
        <a href={closeHref}>
          <span aria-hidden="true">✕ </span>Close
        </a>
      </p>
      {error && (
        <div class="empty">
          <h1 id="run-title" ref={heading} tabIndex={-1}>
            Run not found
          </h1>
          <p>{error}</p>
        </div>
      )}
      {run && (
        <>
          <header class="details-head">
            <h1 id="run-title" ref={heading} tabIndex={-1}>
              {run.bot}
            </h1>
            <StatusBadge status={run.status} />
          </header>
          <RunActions run={run} />
          <RunFacts run={run} />
          {run.failure && <FailurePanel failure={run.failure} />}
          <Panel title="Timeline">
            <Timeline run={run} />
          </Panel>
          <Panel title="Log">
            <LogView run={run} />
          </Panel>
          {run.result && (
            <Panel title="Result">
              <JsonView json={run.result} label="Result" />
            </Panel>
          )}
          <Panel title="Event">
            <JsonView json={run.event} label="Event" />
          </Panel>
        </>
      )}
    </section>
  );
}

function RunActions({ run }: { run: RunDetails }): VNode {
  const [dialog, setDialog] = useState<'send' | 'save' | undefined>(undefined);
  const close = (): void => setDialog(undefined);
  const isWhole = run.event.text.length === run.event.length;

  const runAgain = async (): Promise<void> => {
    const { id } = await api.post<{ id: string }>(`runs/${run.id}/again`);
    notify(`${run.bot} runs again.`);
    navigate(hrefOf(['runs', id]));
  };

  return (
    <div class="actions">
      <button type="button" class="primary" onClick={() => void attempt(runAgain)}>
        Run again
      </button>
      <button type="button" disabled={!isWhole} onClick={() => setDialog('send')}>
        Edit and send
      </button>
      <button type="button" disabled={!isWhole} onClick={() => setDialog('save')}>
        Save as sample event
      </button>
      {dialog === 'send' && (
        <SendEventDialog botId={run.botId} bot={run.bot} text={run.event.text} onClose={close} />
      )}
      {dialog === 'save' && (
        <SaveEventDialog text={run.event.text} suggestion={suggestedName(run)} onClose={close} />
      )}
    </div>
  );
}

/** Such as `patient-created`, in the manner of the files that the repository comes with. */
function suggestedName({ resource, trigger, bot }: RunDetails): string {
  const pastTense: Record<string, string> = {
    create: 'created',
    update: 'updated',
    delete: 'deleted',
  };
  const type = resource?.split('/')[0]?.toLowerCase() ?? bot;
  return `${type}-${pastTense[trigger] ?? trigger}`;
}

function RunFacts({ run }: { run: RunDetails }): VNode {
  const isType = run.resource?.includes('/');
  return (
    <dl class="facts">
      <div>
        <dt>Duration</dt>
        <dd>
          <Duration run={run} />
        </dd>
      </div>
      <div>
        <dt>Started</dt>
        <dd>
          <time dateTime={run.startedAt} title={run.startedAt}>
            {formatTime(run.startedAt)}
          </time>
        </dd>
      </div>
      <div>
        <dt>Trigger</dt>
        <dd>{run.trigger}</dd>
      </div>
      {run.resource && (
        <div>
          <dt>Resource</dt>
          <dd>
            {isType ? (
              <a href={hrefOf(['resources', ...run.resource.split('/')])} title={run.resource}>
                <code>{shortReference(run.resource)}</code>
              </a>
            ) : (
              <code>{run.resource}</code>
            )}
          </dd>
        </div>
      )}
      <div>
        <dt>Runtime</dt>
        <dd>{run.runtime ?? 'none'}</dd>
      </div>
      <div>
        <dt>Code</dt>
        <dd>
          <code>{run.code ?? 'none'}</code>
        </dd>
      </div>
    </dl>
  );
}

function Duration({ run }: { run: RunDetails }): VNode {
  const [, tick] = useState(0);
  const isRunning = run.status === 'running';
  useEffect(() => {
    if (!isRunning) {
      return undefined;
    }
    const timer = setInterval(() => tick((ticks) => ticks + 1), TICK_MILLISECONDS);
    return () => clearInterval(timer);
  }, [isRunning]);
  const milliseconds = isRunning ? Date.now() - Date.parse(run.startedAt) : run.milliseconds;
  return <>{formatDuration(Math.max(0, milliseconds))}</>;
}

function FailurePanel({ failure }: { failure: RunError }): VNode {
  return (
    <Panel title="Error" kind="bad">
      <p class="failure">{failure.message}</p>
      {failure.summary && !failure.summary.endsWith(failure.message) && <p>{failure.summary}</p>}
      {failure.hint && (
        <p>
          <strong>What to change:</strong> {failure.hint}
        </p>
      )}
      {failure.excerpt && <ErrorExcerpt excerpt={failure.excerpt} />}
      {failure.stack && (
        <details>
          <summary>Stack trace</summary>
          <pre tabIndex={0} role="group" aria-label="Stack trace">
            {failure.stack}
          </pre>
        </details>
      )}
    </Panel>
  );
}
