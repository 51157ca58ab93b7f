// The state of a run, as a symbol and a word: colour alone would not tell everyone.
import type { VNode } from 'preact';
import type { RunStatus } from '../api-types.ts';

const TEXT: Record<RunStatus, string> = {
  running: 'Running',
  succeeded: 'Succeeded',
  failed: 'Failed',
};

export function StatusBadge({ status }: { status: RunStatus }): VNode {
  return (
    <span class={`badge ${status}`}>
      <span class="badge-mark" aria-hidden="true" />
      {TEXT[status]}
    </span>
  );
}
