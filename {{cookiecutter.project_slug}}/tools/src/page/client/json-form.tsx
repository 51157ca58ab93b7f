// A text field for JSON with a button that sends it: events, new resources, edited ones.
import type { ComponentChildren, VNode } from 'preact';
import { JsonEditor, problemIn } from './json-editor.tsx';
import { attempt } from './notices.tsx';

interface JsonFormProps {
  /** Of the text field. */
  label: string;
  text: string;
  rows?: number | undefined;
  /** Of the button, such as `Save`. */
  button: string;
  /** What Ctrl+Enter does, such as `Ctrl+Enter saves`. */
  hint: string;
  onChange(text: string): void;
  /** Called with the parsed text; what it throws is shown. */
  send(value: unknown): Promise<void>;
  /** More buttons. */
  children?: ComponentChildren;
}

export function JsonForm(props: JsonFormProps): VNode {
  const { label, text, rows, button, hint, onChange, send, children } = props;
  const isValid = problemIn(text) === undefined;
  const submit = (): void => {
    if (isValid) {
      void attempt(async () => send(JSON.parse(text)));
    }
  };
  return (
    <>
      <JsonEditor label={label} text={text} rows={rows} onChange={onChange} onSubmit={submit} />
      <div class="actions">
        <button type="button" class="primary" disabled={!isValid} onClick={submit}>
          {button}
        </button>
        {children}
        <span class="dim hint">{hint}</span>
      </div>
    </>
  );
}
