// The frame of the page: navigation, the state of the connection, and the open view.
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { BotsView } from './bots-view.tsx';
import { CompareView } from './compare-view.tsx';
import { dismissRestart, useConnection } from './live.ts';
import type { Connection } from './live.ts';
import { Notices } from './notices.tsx';
import { ResourcesView } from './resources-view.tsx';
import { hrefOf, useRoute } from './router.ts';
import type { Route } from './router.ts';
import { RunsView } from './runs-view.tsx';
import { ServerView } from './server-view.tsx';
import { ThemeButton } from './theme-button.tsx';

interface View {
  name: string;
  title: string;
  /** Only where an external FHIR server is configured. */
  external?: boolean;
  render(route: Route): VNode;
}

const VIEWS: View[] = [
  { name: 'runs', title: 'Runs', render: (route) => <RunsView route={route} /> },
  { name: 'bots', title: 'Bots', render: (route) => <BotsView route={route} /> },
  { name: 'resources', title: 'Resources', render: (route) => <ResourcesView route={route} /> },
  {
    name: 'compare',
    title: 'Compare',
    external: true,
    render: (route) => <CompareView route={route} />,
  },
  { name: 'server', title: 'Server', render: () => <ServerView /> },
];

const STATE_TEXT: Record<Connection['state'], string> = {
  connecting: 'Connecting',
  live: 'Live',
  lost: 'Not connected',
};

export function App(): VNode {
  const route = useRoute();
  const connection = useConnection();
  const main = useRef<HTMLElement>(null);
  const hasExternal = connection.hello?.external !== undefined;
  const views = VIEWS.filter(({ external }) => !external || hasExternal);
  const view = views.find(({ name }) => name === route.path[0]) ?? views[0]!;

  useEffect(() => {
    document.title = `${view.title} · Local Medplum`;
  }, [view.title]);

  return (
    <div class="frame">
      <a
        class="skip-link"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to content
      </a>
      <header class="top">
        <p class="brand">
          <span class="brand-mark" aria-hidden="true" />
          Local Medplum
        </p>
        <nav aria-label="Main">
          <ul>
            {views.map(({ name, title }) => (
              <li key={name}>
                <a href={hrefOf([name])} aria-current={name === view.name ? 'page' : undefined}>
                  {title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <div class="top-end">
          <Servers connection={connection} />
          <span id="state" class={`connection ${connection.state}`} role="status">
            {STATE_TEXT[connection.state]}
          </span>
          <ThemeButton />
        </div>
      </header>
      {connection.restarted && (
        <p class="banner" role="status">
          The server was started again. Earlier runs and resources are gone.{' '}
          <button type="button" onClick={dismissRestart}>
            Dismiss
          </button>
        </p>
      )}
      <main id="main" ref={main} tabIndex={-1}>
        {view.render(route)}
      </main>
      <Notices />
    </div>
  );
}

function Servers({ connection: { hello } }: { connection: Connection }): VNode | null {
  if (!hello) {
    return null;
  }
  return (
    <dl class="servers">
      <div>
        <dt>Medplum</dt>
        <dd>
          <code>{hello.medplum}</code>
        </dd>
      </div>
      {hello.external && (
        <div>
          <dt>External FHIR server</dt>
          <dd>
            <code>{hello.external}</code>
          </dd>
        </div>
      )}
    </dl>
  );
}
