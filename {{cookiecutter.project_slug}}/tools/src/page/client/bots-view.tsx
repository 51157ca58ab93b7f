// All bots: what starts them, what they need and may do, and what they last did.
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { BotList, BotView } from '../api-types.ts';
import { api } from './api.ts';
import { SendEventDialog } from './event-dialogs.tsx';
import { count, formatBytes, formatTime } from './format.ts';
import { useLive } from './live.ts';
import { attempt, notify } from './notices.tsx';
import { hrefOf } from './router.ts';
import type { Route } from './router.ts';
import { StatusBadge } from './status-badge.tsx';
import { useLoaded } from './use-loaded.ts';

/** What an event is, where there is no sample to start from. */
const EMPTY_EVENT = JSON.stringify(
  { input: {}, contentType: 'application/fhir+json', headers: {} },
  null,
  2,
);

export function BotsView({ route }: { route: Route }): VNode {
  const { data, error, reload } = useLoaded<BotList>(async () => api.get('bots'), []);
  useLive('bots', reload, []);
  useLive('run', reload, []);
  const [sendTo, setSendTo] = useState<BotView | undefined>(undefined);
  const bots = data?.bots ?? [];
  return (
    <section class="view" aria-labelledby="bots-title">
      <div class="view-head">
        <h1 id="bots-title">Bots</h1>
        <p class="dim">{count(bots.length, 'bot')}</p>
      </div>
      {error && <p class="banner bad">{error}</p>}
      {data?.problem && (
        <pre class="banner bad" role="status">
          {data.problem}
        </pre>
      )}
      {data && bots.length === 0 && (
        <p class="empty">
          There is no bot yet. Make one with <code>npm run new:bot -- my-bot</code>.
        </p>
      )}
      <ul class="cards">
        {bots.map((bot) => (
          <BotCard
            key={bot.name}
            bot={bot}
            isMarked={route.path[1] === bot.name}
            onSend={() => setSendTo(bot)}
          />
        ))}
      </ul>
      {sendTo?.id && (
        <SendEventDialog
          botId={sendTo.id}
          bot={sendTo.name}
          text={EMPTY_EVENT}
          onClose={() => setSendTo(undefined)}
        />
      )}
    </section>
  );
}

interface CardProps {
  bot: BotView;
  isMarked: boolean;
  onSend(): void;
}

function BotCard({ bot, isMarked, onSend }: CardProps): VNode {
  const titleId = `bot-${bot.name}`;
  const runNow = async (): Promise<void> => {
    notify(`${bot.name} runs now.`);
    await api.post(`bots/${bot.id}/cron`);
  };
  return (
    <li class={isMarked ? 'card is-open' : 'card'} aria-labelledby={titleId}>
      <div class="card-head">
        <h2 id={titleId}>{bot.name}</h2>
        {bot.lastRun && (
          <a href={hrefOf(['runs', bot.lastRun.id])} title="Open its last run">
            <span class="visually-hidden">Last run: </span>
            <StatusBadge status={bot.lastRun.status} />
          </a>
        )}
      </div>
      {bot.description && <p class="dim">{bot.description}</p>}
      <Warnings bot={bot} />
      <dl class="details">
        <Triggers bot={bot} />
        <Secrets bot={bot} />
        <Policy bot={bot} />
        <Code bot={bot} />
        <div>
          <dt>Runs</dt>
          <dd>
            <a href={hrefOf(['runs'], { bot: bot.name })}>{count(bot.runs.total, 'run')}</a>
            {bot.runs.failed > 0 && (
              <>
                {', '}
                <a class="bad" href={hrefOf(['runs'], { bot: bot.name, status: 'failed' })}>
                  {bot.runs.failed} failed
                </a>
              </>
            )}
            {bot.runs.running > 0 && `, ${bot.runs.running} running`}
          </dd>
        </div>
      </dl>
      <div class="actions">
        <button
          type="button"
          disabled={!bot.id}
          aria-label={`Send an event to ${bot.name}`}
          onClick={onSend}
        >
          Send an event
        </button>
        {bot.schedules.length > 0 && (
          <button
            type="button"
            disabled={!bot.id}
            aria-label={`Run now: ${bot.name}`}
            onClick={() => void attempt(runNow)}
          >
            Run now
          </button>
        )}
      </div>
    </li>
  );
}

/** What keeps a bot from running. */
function Warnings({ bot }: { bot: BotView }): VNode | null {
  const missing = bot.secrets.filter(({ optional, present }) => !optional && !present);
  const warnings: string[] = [];
  if (!bot.id) {
    warnings.push('Not deployed to this server.');
  }
  if (missing.length > 0) {
    const names = missing.map(({ name }) => name).join(', ');
    warnings.push(`Missing ${missing.length === 1 ? 'secret' : 'secrets'}: ${names}.`);
  }
  if (!bot.hasMembership) {
    warnings.push('It has no ProjectMembership, so subscriptions and schedules never run it.');
  }
  if (bot.id && !bot.source) {
    warnings.push('Not in medplum.config.json.');
  }
  if (warnings.length === 0) {
    return null;
  }
  return (
    <ul class="warnings">
      {warnings.map((warning) => (
        <li key={warning}>{warning}</li>
      ))}
    </ul>
  );
}

function Triggers({ bot }: { bot: BotView }): VNode {
  return (
    <div>
      <dt>Triggers</dt>
      <dd>
        {bot.subscriptions.map(({ id, criteria, interactions, active }) => (
          <p key={id}>
            <code>{criteria}</code> {interactions.join(', ')}
            {!active && bot.id && <span class="bad"> (off)</span>}
          </p>
        ))}
        {bot.schedules.map(({ name, pattern, nextRun, problem }) => (
          <p key={name ?? pattern}>
            <code>{pattern}</code> {name}
            {nextRun && ` next at ${formatTime(nextRun)}`}
            {problem && <span class="dim"> ({problem})</span>}
          </p>
        ))}
        {bot.subscriptions.length + bot.schedules.length === 0 && 'Only when it is called'}
      </dd>
    </div>
  );
}

function Secrets({ bot }: { bot: BotView }): VNode | null {
  if (bot.secrets.length === 0) {
    return null;
  }
  const unused = bot.secrets.filter(({ optional, present }) => optional && !present);
  const important = bot.secrets.filter((secret) => !unused.includes(secret));
  return (
    <div>
      <dt>Secrets</dt>
      <dd>
        <ul class="inline">
          {important.map(({ name, present }) => (
            <li key={name}>
              <code>{name}</code>{' '}
              {present ? <span class="good">set</span> : <span class="bad">missing</span>}
            </li>
          ))}
        </ul>
        {unused.length > 0 && (
          <Folded
            title={`${unused.length} optional, not set`}
            names={unused.map(({ name }) => name)}
          />
        )}
      </dd>
    </div>
  );
}

/** A list of names that opens on demand. */
function Folded({ title, names }: { title: string; names: string[] }): VNode {
  return (
    <details>
      <summary>{title}</summary>
      <ul class="inline">
        {names.map((name) => (
          <li key={name}>
            <code>{name}</code>
          </li>
        ))}
      </ul>
    </details>
  );
}

function Policy({ bot }: { bot: BotView }): VNode {
  if (!bot.policy) {
    return (
      <div>
        <dt>Access</dt>
        <dd>Everything in the project: it has no access policy</dd>
      </div>
    );
  }
  return (
    <div>
      <dt>Access</dt>
      <dd>
        <ul class="inline">
          {bot.policy.map(({ resourceType, readonly, criteria }, index) => (
            <li key={index}>
              <code>{criteria ?? resourceType}</code> {readonly ? 'read' : 'read and write'}
            </li>
          ))}
        </ul>
      </dd>
    </div>
  );
}

function Code({ bot }: { bot: BotView }): VNode {
  const facts = [
    bot.runtime,
    bot.timeoutSeconds && `timeout ${bot.timeoutSeconds} s`,
    bot.bytes !== undefined && formatBytes(bot.bytes),
    bot.deployedAt && `deployed ${formatTime(bot.deployedAt)}`,
  ].filter(Boolean);
  return (
    <>
      <div>
        <dt>Code</dt>
        <dd>
          {bot.code && (
            <p>
              <code>{bot.code}</code>
            </p>
          )}
          <p>{facts.join(', ')}</p>
        </dd>
      </div>
      {bot.shared.length > 0 && (
        <div>
          <dt>Shared code</dt>
          <dd>
            <Folded
              title={count(bot.shared.length, 'module')}
              names={bot.shared.map(({ path }) => path.replace(/^src\/shared\//, ''))}
            />
          </dd>
        </div>
      )}
    </>
  );
}
