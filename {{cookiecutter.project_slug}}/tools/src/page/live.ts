// Pushes what happens on the server to every open page, as server-sent events.
import type { Hono } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { MedplumServer } from '../medplum/server.ts';
import type { Run } from '../medplum/bot-runs.ts';
import type { Hello, LiveEvents } from './api-types.ts';
import { toSummary } from './run-views.ts';

/** Changes are collected for this long, so that a thousand writes are a few messages. */
const COLLECT_MILLISECONDS = 100;
/** How long a browser waits before it connects again. */
const RETRY_MILLISECONDS = 1000;
/** Types whose changes concern what is said about bots. */
const BOT_TYPES = ['Bot', 'Subscription', 'AccessPolicy', 'ProjectMembership', 'Project'];

type Send = <Name extends keyof LiveEvents>(name: Name, data: LiveEvents[Name]) => unknown;

export class LiveUpdates {
  private readonly pages = new Set<Send>();
  private readonly runs = new Map<string, Run>();
  private readonly types = new Set<string>();
  private timer: NodeJS.Timeout | undefined;

  constructor(server: MedplumServer) {
    const onRun = (run: Run): void => {
      this.runs.set(run.id, run);
      this.later();
    };
    server.runs.on('started', onRun);
    server.runs.on('sent', onRun);
    server.runs.on('ended', onRun);
    server.events.on('change', ({ resource }) => {
      this.types.add(resource.resourceType);
      this.later();
    });
  }

  /** Tells every open page something at once. */
  send: Send = (name, data) => {
    for (const page of this.pages) {
      page(name, data);
    }
  };

  addRoute(app: Hono, hello: Hello): void {
    app.get('/_local/events', (c) =>
      streamSSE(c, async (stream) => {
        const send: Send = (name, data) =>
          stream.writeSSE({
            event: name,
            data: JSON.stringify(data),
            retry: RETRY_MILLISECONDS,
          });
        const closed = new Promise<void>((resolve) => stream.onAbort(resolve));
        await send('hello', hello);
        this.pages.add(send);
        await closed;
        this.pages.delete(send);
      }),
    );
  }

  private later(): void {
    this.timer ??= setTimeout(() => this.flush(), COLLECT_MILLISECONDS).unref();
  }

  private flush(): void {
    this.timer = undefined;
    const runs = [...this.runs.values()];
    const types = [...this.types];
    this.runs.clear();
    this.types.clear();
    for (const run of runs) {
      this.send('run', toSummary(run));
    }
    if (types.length > 0) {
      this.send('resources', { types });
    }
    if (types.some((type) => BOT_TYPES.includes(type))) {
      this.send('bots', {});
    }
  }
}
