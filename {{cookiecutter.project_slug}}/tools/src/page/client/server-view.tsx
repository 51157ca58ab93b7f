// What happened on the server beside runs: e-mails that bots sent, and requests it could not
// answer.
import type { VNode } from 'preact';
import type { EmailView, RefusedRequest, ServerLog } from '../api-types.ts';
import { api } from './api.ts';
import { formatTime } from './format.ts';
import { useLive } from './live.ts';
import { Panel } from './panel.tsx';
import { useLoaded } from './use-loaded.ts';

export function ServerView(): VNode {
  const { data, error, reload } = useLoaded<ServerLog>(async () => api.get('server-log'), []);
  useLive('server-log', reload, []);
  return (
    <section class="view panels" aria-labelledby="server-title">
      <div class="view-head">
        <h1 id="server-title">Server</h1>
      </div>
      {error && <p class="banner bad">{error}</p>}
      <Panel title="E-mails">
        <p class="dim">What bots sent with medplum.sendEmail. Nothing leaves this machine.</p>
        {(data?.emails ?? []).map((email, index) => (
          <Email key={index} email={email} />
        ))}
        {data && !data.canSendEmail && (
          <p>
            This project refuses e-mails, as a new Medplum project does. Start with{' '}
            <code>npm run dev -- --feature email</code>; a bot then also needs an admin membership.
          </p>
        )}
        {data?.canSendEmail && data.emails.length === 0 && <p>No bot has sent an e-mail.</p>}
      </Panel>
      <Panel title="Refused requests">
        <p class="dim">
          A real Medplum answers these; the local one refuses them with status 501 instead of
          guessing.
        </p>
        {data && data.refused.length > 0 && <RefusedTable refused={data.refused} />}
        {data?.refused.length === 0 && <p>No request was refused.</p>}
      </Panel>
    </section>
  );
}

function Email({ email }: { email: EmailView }): VNode {
  return (
    <details class="email">
      <summary>
        <strong>{email.subject}</strong> to {email.to}{' '}
        <time class="dim" dateTime={email.sentAt}>
          {formatTime(email.sentAt)}
        </time>
      </summary>
      <pre tabIndex={0} role="group" aria-label={`Text of ${email.subject}`}>
        {email.text}
      </pre>
    </details>
  );
}

function RefusedTable({ refused }: { refused: RefusedRequest[] }): VNode {
  return (
    <table class="timeline" aria-label="Refused requests">
      <thead>
        <tr>
          <th scope="col">Request</th>
          <th scope="col">Reason</th>
          <th scope="col" class="number">
            Time
          </th>
        </tr>
      </thead>
      <tbody>
        {refused.map(({ at, method, path, message }, index) => (
          <tr key={index}>
            <td class="request-cell">
              <span class="method">{method}</span> <code>{path}</code>
            </td>
            <td>{message}</td>
            <td class="number">
              <time dateTime={at}>{formatTime(at)}</time>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
