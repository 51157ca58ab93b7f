// Short messages about what has just happened, shown for a while and read out by screen readers.
import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';

interface Notice {
  id: number;
  text: string;
  kind: 'info' | 'error';
}

const SHOWN_MILLISECONDS = 8000;
let lastId = 0;
let show: (notice: Notice) => void = () => undefined;

/** Tells the user something. */
export function notify(text: string, kind: Notice['kind'] = 'info'): void {
  lastId += 1;
  show({ id: lastId, text, kind });
}

/** Runs what a button does; an error becomes a notice. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    notify((error as Error).message, 'error');
    return false;
  }
}

export function Notices(): VNode {
  const [notices, setNotices] = useState<Notice[]>([]);
  useEffect(() => {
    show = (notice) => {
      setNotices((current) => [...current, notice]);
      setTimeout(() => {
        setNotices((current) => current.filter(({ id }) => id !== notice.id));
      }, SHOWN_MILLISECONDS);
    };
  }, []);
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.map(({ id, text, kind }) => (
        <p key={id} class={`notice ${kind}`}>
          {text}
        </p>
      ))}
    </div>
  );
}
