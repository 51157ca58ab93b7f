// Copies a text to the clipboard.
import type { VNode } from 'preact';
import { attempt, notify } from './notices.tsx';

export function CopyButton({ text, label }: { text: string; label: string }): VNode {
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text);
    notify(`${label} copied.`);
  };
  return (
    <button
      type="button"
      class="quiet copy"
      aria-label={`Copy ${label}`}
      onClick={() => void attempt(copy)}
    >
      Copy
    </button>
  );
}
