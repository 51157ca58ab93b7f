// Sending an event to a bot, and saving one as a file in tests/events.
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import { ApiError, api } from './api.ts';
import { Dialog } from './dialog.tsx';
import { JsonForm } from './json-form.tsx';
import { notify } from './notices.tsx';
import { hrefOf, navigate } from './router.ts';
import { SamplePicker } from './sample-picker.tsx';

interface SendEventProps {
  botId: string;
  bot: string;
  /** The event to start with. */
  text: string;
  onClose(): void;
}

export function SendEventDialog({ botId, bot, text: initial, onClose }: SendEventProps): VNode {
  const [text, setText] = useState(initial);
  const send = async (event: unknown): Promise<void> => {
    const { id } = await api.post<{ id: string }>(`bots/${botId}/send`, event);
    onClose();
    navigate(hrefOf(['runs', id]));
  };
  return (
    <Dialog title={`Send an event to ${bot}`} onClose={onClose}>
      <SamplePicker
        kinds={['event']}
        label="Start from a sample event"
        onPick={(event) => setText(JSON.stringify(event, null, 2))}
      />
      <JsonForm
        label="Event"
        text={text}
        button="Send event"
        hint="Ctrl+Enter sends"
        onChange={setText}
        send={send}
      >
        <button type="button" onClick={onClose}>
          Cancel
        </button>
      </JsonForm>
    </Dialog>
  );
}

interface SaveEventProps {
  text: string;
  suggestion: string;
  onClose(): void;
}

export function SaveEventDialog({ text, suggestion, onClose }: SaveEventProps): VNode {
  const [name, setName] = useState(suggestion);
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const [exists, setExists] = useState(false);

  const save = async (replace: boolean): Promise<void> => {
    try {
      const body = { name, replace, event: JSON.parse(text) as unknown };
      const { path } = await api.post<{ path: string }>('sample-events', body);
      notify(`Saved ${path}.`);
      onClose();
    } catch (error) {
      setProblem((error as Error).message);
      setExists(error instanceof ApiError && error.status === 409);
    }
  };
  return (
    <Dialog title="Save as sample event" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void save(false);
        }}
      >
        <p class="dim">
          Writes a file in tests/events, for tests and for <code>npm run bot</code>. It holds the
          event as it was, so check it before you commit it: no patient's data belongs in a
          repository.
        </p>
        <label class="stacked">
          <span>Name</span>
          <input
            value={name}
            autocomplete="off"
            aria-invalid={problem !== undefined}
            aria-describedby="save-problem"
            onInput={(event) => {
              setName(event.currentTarget.value);
              setExists(false);
            }}
          />
        </label>
        <p class="dim">
          <code>tests/events/{name}.json</code>
        </p>
        <p id="save-problem" class="problem bad" role="alert">
          {problem ?? ''}
        </p>
        <div class="actions">
          <button type="submit" class="primary">
            Save
          </button>
          {exists && (
            <button type="button" onClick={() => void save(true)}>
              Replace it
            </button>
          )}
          <button type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}
