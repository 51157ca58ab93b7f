// What differs between two JSON values, line by line.
import type { VNode } from 'preact';
import { useMemo } from 'preact/hooks';
import { diffJson } from './diff.ts';
import type { DiffLine } from './diff.ts';

const SIGNS: Record<DiffLine['kind'], string> = { same: ' ', added: '+', removed: '-' };

interface DiffViewProps {
  before: unknown;
  after: unknown;
  label: string;
}

export function DiffView({ before, after, label }: DiffViewProps): VNode {
  const lines = useMemo(() => diffJson(before, after), [before, after]);
  return (
    <pre class="diff" tabIndex={0} role="group" aria-label={label}>
      {lines.map(({ kind, text }, index) => (
        <span key={index} class={`line ${kind}`}>
          {SIGNS[kind]} {text}
          {'\n'}
        </span>
      ))}
    </pre>
  );
}
