// The log of a run. The server sends its end first; earlier parts are read when the user asks for
// them.
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { LogPart, RunDetails } from '../api-types.ts';
import { api } from './api.ts';
import { formatBytes } from './format.ts';
import { attempt } from './notices.tsx';

export function LogView({ run }: { run: RunDetails }): VNode {
  const [parts, setParts] = useState<LogPart[]>([]);

  useEffect(() => {
    setParts([]);
    if (run.logLength > 0) {
      void attempt(async () => setParts([await api.get<LogPart>(`runs/${run.id}/log`)]));
    }
  }, [run.id, run.logLength]);

  if (run.logLength === 0) {
    return (
      <p class="dim">
        {run.status === 'running'
          ? 'The log appears when the run ends.'
          : 'The bot logged nothing.'}
      </p>
    );
  }
  const first = parts[0];
  const showEarlier = async (): Promise<void> => {
    const earlier = await api.get<LogPart>(`runs/${run.id}/log?before=${first!.start}`);
    setParts((current) => [earlier, ...current]);
  };
  return (
    <>
      {first && first.start > 0 && (
        <p>
          <button type="button" onClick={() => void attempt(showEarlier)}>
            Show earlier lines ({formatBytes(first.start)})
          </button>
        </p>
      )}
      <pre class="log" tabIndex={0} role="group" aria-label="Log">
        {parts.map(({ start, text }) => (
          <span key={start}>{text}</span>
        ))}
      </pre>
    </>
  );
}
