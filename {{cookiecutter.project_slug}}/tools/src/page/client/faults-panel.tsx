// Faults of the external FHIR server: let its next requests fail, and see how the bots cope.
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { FaultList } from '../api-types.ts';
import { api } from './api.ts';
import { count } from './format.ts';
import { useLive } from './live.ts';
import { attempt } from './notices.tsx';
import { Panel } from './panel.tsx';
import { useLoaded } from './use-loaded.ts';

export function FaultsPanel(): VNode | null {
  const { data, reload } = useLoaded<FaultList>(async () => api.get('faults'), []);
  useLive('faults', reload, []);
  const [kind, setKind] = useState('');
  const [times, setTimes] = useState('1');
  if (!data) {
    return null;
  }
  const chosen = kind || data.kinds[0] || '';
  const switchOn = async (): Promise<void> => {
    const body = times === '' ? { kind: chosen } : { kind: chosen, times: Number(times) };
    await api.post('faults', body);
  };
  return (
    <Panel title="Faults of the external server">
      <p class="dim">Let its next requests fail, to see how your bots cope.</p>
      <div class="filters">
        <label class="field">
          <span class="visually-hidden">Fault</span>
          <select value={chosen} onChange={(event) => setKind(event.currentTarget.value)}>
            {data.kinds.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span class="visually-hidden">How many requests</span>
          <select value={times} onChange={(event) => setTimes(event.currentTarget.value)}>
            <option value="1">next request</option>
            <option value="3">next 3 requests</option>
            <option value="">all requests</option>
          </select>
        </label>
        <button type="button" onClick={() => void attempt(switchOn)}>
          Switch on
        </button>
        <button
          type="button"
          disabled={data.faults.length === 0}
          onClick={() => void attempt(async () => api.delete('faults'))}
        >
          Switch all off
        </button>
      </div>
      <p id="faults" role="status">
        {data.faults.length === 0
          ? 'No fault is on.'
          : `On: ${data.faults.map(describe).join('; ')}`}
      </p>
    </Panel>
  );
}

function describe({ kind, times }: FaultList['faults'][number]): string {
  return times === undefined ? kind : `${kind} for ${count(times, 'more request')}`;
}
