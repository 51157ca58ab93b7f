// What the server pushes: one connection for the whole page, which the browser opens again when it
// was lost.
import { useEffect, useState } from 'preact/hooks';
import type { Hello, LiveEvents } from '../api-types.ts';

export type ConnectionState = 'connecting' | 'live' | 'lost';

export interface Connection {
  state: ConnectionState;
  hello: Hello | undefined;
  /** Counts the connections: what was read before the last one may be out of date. */
  generation: number;
  /** The server was started again while the page was open. */
  restarted: boolean;
}

type Listener<Name extends keyof LiveEvents> = (data: LiveEvents[Name]) => void;

const RECONNECT_MILLISECONDS = 1000;
const NAMES: (keyof LiveEvents)[] = ['run', 'resources', 'bots', 'faults', 'server-log'];

const listeners = new Map<keyof LiveEvents, Set<(data: never) => void>>();
const watchers = new Set<(connection: Connection) => void>();
let connection: Connection = {
  state: 'connecting',
  hello: undefined,
  generation: 0,
  restarted: false,
};
let source: EventSource | undefined;

function setConnection(change: Partial<Connection>): void {
  connection = { ...connection, ...change };
  for (const watcher of watchers) {
    watcher(connection);
  }
}

function connect(): void {
  source = new EventSource('/_local/events');
  source.addEventListener('hello', ({ data }: MessageEvent<string>) => {
    const hello = JSON.parse(data) as Hello;
    const restarted = connection.hello !== undefined && connection.hello.server !== hello.server;
    setConnection({
      state: 'live',
      hello,
      generation: connection.generation + 1,
      restarted: restarted || connection.restarted,
    });
  });
  source.addEventListener('error', () => {
    setConnection({ state: 'lost' });
    // A browser gives up after some failures; a server that is started later must be found again.
    if (source?.readyState === EventSource.CLOSED) {
      disconnect();
      setTimeout(() => source ?? connect(), RECONNECT_MILLISECONDS);
    }
  });
  for (const name of NAMES) {
    source.addEventListener(name, ({ data }: MessageEvent<string>) => {
      for (const listener of listeners.get(name) ?? []) {
        listener(JSON.parse(data) as never);
      }
    });
  }
}

function disconnect(): void {
  source?.close();
  source = undefined;
}

/**
 * Connects while the page can be seen. A browser has six connections to a server for all of its
 * tabs together: those in the background must not keep one each.
 */
export function connectWhileVisible(): void {
  const update = (): void => {
    if (document.hidden) {
      disconnect();
    } else if (!source) {
      connect();
    }
  };
  document.addEventListener('visibilitychange', update);
  addEventListener('pagehide', disconnect);
  addEventListener('pageshow', update);
  update();
}

export function dismissRestart(): void {
  setConnection({ restarted: false });
}

export function useConnection(): Connection {
  const [current, setCurrent] = useState(connection);
  useEffect(() => {
    watchers.add(setCurrent);
    setCurrent(connection);
    return () => {
      watchers.delete(setCurrent);
    };
  }, []);
  return current;
}

/** Calls back with each event of this name, as long as the component is shown. */
export function useLive<Name extends keyof LiveEvents>(
  name: Name,
  listener: Listener<Name>,
  dependencies: unknown[],
): void {
  useEffect(() => {
    const ofName = listeners.get(name) ?? new Set();
    listeners.set(name, ofName);
    ofName.add(listener);
    return () => {
      ofName.delete(listener);
    };
  }, dependencies);
}
