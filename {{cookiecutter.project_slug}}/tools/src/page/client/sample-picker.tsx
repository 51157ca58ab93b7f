// A list of the repository's JSON files with resources, bundles and events; picking one reads it.
import type { VNode } from 'preact';
import type { SampleFile } from '../api-types.ts';
import { api } from './api.ts';
import { attempt } from './notices.tsx';
import { useLoaded } from './use-loaded.ts';

interface SamplePickerProps {
  kinds: SampleFile['kind'][];
  label: string;
  onPick(content: unknown, kind: SampleFile['kind']): void;
}

export function SamplePicker({ kinds, label, onPick }: SamplePickerProps): VNode | null {
  const { data } = useLoaded<{ samples: SampleFile[] }>(
    async () => api.get('resources/samples'),
    [],
  );
  const samples = (data?.samples ?? []).filter(({ kind }) => kinds.includes(kind));
  if (samples.length === 0) {
    return null;
  }
  const pick = async (path: string): Promise<void> => {
    const content = await api.get(`resources/samples/content?${new URLSearchParams({ path })}`);
    const sample = samples.find((candidate) => candidate.path === path)!;
    onPick(content, sample.kind);
  };
  return (
    <label class="stacked">
      <span>{label}</span>
      <select
        onChange={(event) => {
          const { value } = event.currentTarget;
          if (value) {
            void attempt(async () => pick(value));
          }
        }}
      >
        <option value="">Choose a file</option>
        {samples.map(({ path, type }) => (
          <option key={path} value={path}>
            {type ? `${path} (${type})` : path}
          </option>
        ))}
      </select>
    </label>
  );
}
