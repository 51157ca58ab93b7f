// Data that a view reads from the server, and reads again when it may have changed.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { useConnection } from './live.ts';

/** Reads that are asked for more often are put together. */
const RELOAD_MILLISECONDS = 250;

export interface Loaded<T> {
  /** Undefined until it was read for the first time. */
  data: T | undefined;
  error: string | undefined;
  reload(): void;
}

/**
 * Reads data now, after each reconnection, and whenever the dependencies change or `reload` is
 * called. Earlier data stays visible until the new data is there, unless the dependencies changed.
 */
export function useLoaded<T>(load: () => Promise<T>, dependencies: unknown[]): Loaded<T> {
  const { generation } = useConnection();
  const [state, setState] = useState<{ data?: T; error?: string; key: string }>({ key: '' });
  const key = JSON.stringify(dependencies);
  const latest = useRef({ load, key });
  latest.current = { load, key };
  const timer = useRef<number | undefined>(undefined);

  const read = useCallback(() => {
    const { load: current, key: asked } = latest.current;
    current().then(
      (data) => latest.current.key === asked && setState({ data, key: asked }),
      (error: Error) =>
        latest.current.key === asked && setState({ error: error.message, key: asked }),
    );
  }, []);
  const reload = useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      read();
    }, RELOAD_MILLISECONDS);
  }, []);

  useEffect(() => {
    // Before the first connection, what is read now would be read again at once.
    if (generation > 0) {
      read();
    }
  }, [key, generation]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const isCurrent = state.key === key;
  return {
    data: isCurrent ? state.data : undefined,
    error: isCurrent ? state.error : undefined,
    reload,
  };
}
