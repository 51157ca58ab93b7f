// A text field for JSON that says where a mistake is.
import type { VNode } from 'preact';
import { useId } from 'preact/hooks';

interface JsonEditorProps {
  label: string;
  text: string;
  rows?: number | undefined;
  onChange(text: string): void;
  /** Ctrl+Enter, or Cmd+Enter on a Mac. */
  onSubmit?(): void;
}

export function JsonEditor({ label, text, rows = 18, onChange, onSubmit }: JsonEditorProps): VNode {
  const id = useId();
  const problem = problemIn(text);
  const format = (): void => onChange(JSON.stringify(JSON.parse(text), null, 2));
  return (
    <div class="editor">
      <div class="editor-head">
        <label for={id}>{label}</label>
        <button type="button" class="quiet" disabled={problem !== undefined} onClick={format}>
          Format
        </button>
      </div>
      <textarea
        id={id}
        rows={rows}
        value={text}
        spellcheck={false}
        autofocus
        autocomplete="off"
        aria-invalid={problem !== undefined}
        aria-describedby={`${id}-problem`}
        onInput={(event) => onChange(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            onSubmit?.();
          }
        }}
      />
      <p id={`${id}-problem`} class="problem bad" role="status">
        {problem ?? ''}
      </p>
    </div>
  );
}

/** @returns what is wrong with a JSON text and where; undefined if nothing is */
export function problemIn(text: string): string | undefined {
  if (text.trim() === '') {
    return 'Nothing here yet.';
  }
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
