// One resource: its JSON, editing and deleting it, and its history.
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ResourceVersion } from '../api-types.ts';
import { api } from './api.ts';
import { DiffView } from './diff-view.tsx';
import { Dialog } from './dialog.tsx';
import { formatTime } from './format.ts';
import { JsonForm } from './json-form.tsx';
import { JsonView } from './json-view.tsx';
import { useLive } from './live.ts';
import { attempt, notify } from './notices.tsx';
import { Panel } from './panel.tsx';
import { hrefOf } from './router.ts';
import { useLoaded } from './use-loaded.ts';

interface ResourcePanelProps {
  type: string;
  id: string;
  closeHref: string;
}

export function ResourcePanel({ type, id, closeHref }: ResourcePanelProps): VNode {
  const path = `resources/${type}/${id}`;
  const { data, error, reload } = useLoaded<{ versions: ResourceVersion[] }>(
    async () => api.get(`${path}/history`),
    [path],
  );
  useLive('resources', ({ types }) => types.includes(type) && reload(), [type]);
  const heading = useRef<HTMLHeadingElement>(null);
  const versions = data?.versions ?? [];
  const [current] = versions;
  const isLoaded = data !== undefined || error !== undefined;

  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, [isLoaded]);

  return (
    <section class="split-details" aria-labelledby="resource-title">
      <p class="back">
        <a href={closeHref}>
          <span aria-hidden="true">✕ </span>Close
        </a>
      </p>
      <header class="details-head">
        <h1 id="resource-title" ref={heading} tabIndex={-1}>
          {type} <code>{id}</code>
        </h1>
        {current?.deleted && <span class="tag bad">deleted</span>}
      </header>
      {error && <p class="empty">{error}</p>}
      {current && !current.deleted && (
        <>
          <ResourceActions path={path} type={type} id={id} resource={current.resource} />
          <Panel title="Resource">
            <JsonView json={asJson(current.resource)} label="Resource" />
          </Panel>
        </>
      )}
      {versions.length > 0 && <HistoryPanel versions={versions} />}
    </section>
  );
}

interface ActionsProps {
  path: string;
  type: string;
  id: string;
  resource: unknown;
}

function ResourceActions({ path, type, id, resource }: ActionsProps): VNode {
  const [dialog, setDialog] = useState<'edit' | 'delete' | undefined>(undefined);
  const close = (): void => setDialog(undefined);
  const remove = async (): Promise<void> => {
    await api.delete(path);
    notify(`${type} deleted.`);
    close();
  };
  return (
    <div class="actions">
      <button type="button" class="primary" onClick={() => setDialog('edit')}>
        Edit
      </button>
      <button type="button" onClick={() => setDialog('delete')}>
        Delete
      </button>
      <a class="button" href={hrefOf(['runs'], { resource: `${type}/${id}` })}>
        Runs about it
      </a>
      {dialog === 'edit' && <EditDialog path={path} resource={resource} onClose={close} />}
      {dialog === 'delete' && (
        <Dialog title={`Delete this ${type}?`} onClose={close}>
          <p>Bots that subscribe to deletions of {type} will run.</p>
          <div class="actions">
            <button type="button" class="danger" onClick={() => void attempt(remove)}>
              Delete it
            </button>
            <button type="button" onClick={close}>
              Cancel
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

interface EditProps {
  path: string;
  resource: unknown;
  onClose(): void;
}

function EditDialog({ path, resource, onClose }: EditProps): VNode {
  const [text, setText] = useState(() => JSON.stringify(withoutServerMeta(resource), null, 2));
  const save = async (edited: unknown): Promise<void> => {
    await api.put(path, edited);
    notify('Saved.');
    onClose();
  };
  return (
    <Dialog title="Edit resource" onClose={onClose}>
      <JsonForm
        label="Resource"
        text={text}
        rows={24}
        button="Save"
        hint="Ctrl+Enter saves"
        onChange={setText}
        send={save}
      >
        <button type="button" onClick={onClose}>
          Cancel
        </button>
      </JsonForm>
    </Dialog>
  );
}

/** The versions of a resource; choosing one shows what it changed. */
function HistoryPanel({ versions }: { versions: ResourceVersion[] }): VNode {
  const [chosen, setChosen] = useState(0);
  const index = Math.min(chosen, versions.length - 1);
  const version = versions[index]!;
  const previous = versions[index + 1];
  return (
    <Panel title="History">
      <ol class="versions">
        {versions.map(({ versionId, lastUpdated, deleted, author }, at) => (
          <li key={versionId ?? `deleted-${at}`}>
            <button
              type="button"
              class="version"
              aria-pressed={at === index}
              onClick={() => setChosen(at)}
            >
              <span>{describeVersion(deleted, at === versions.length - 1)}</span>
              <time dateTime={lastUpdated}>{formatTime(lastUpdated)}</time>
              <span class="dim">{author}</span>
            </button>
          </li>
        ))}
      </ol>
      <DiffView
        before={withoutServerMeta(previous?.resource)}
        after={withoutServerMeta(version.resource)}
        label="Changes in this version"
      />
    </Panel>
  );
}

function describeVersion(deleted: boolean, isFirst: boolean): string {
  if (deleted) {
    return 'Deleted';
  }
  return isFirst ? 'Created' : 'Updated';
}

function asJson(resource: unknown): { text: string; length: number } {
  const text = JSON.stringify(resource, null, 2);
  return { text, length: text.length };
}

/** Without the members of `meta` that only the server writes. */
function withoutServerMeta(resource: unknown): unknown {
  if (typeof resource !== 'object' || resource === null) {
    return resource;
  }
  const { meta = {}, ...rest } = resource as { meta?: Record<string, unknown> };
  const { versionId, lastUpdated, author, project, compartment, ...kept } = meta;
  return Object.keys(kept).length > 0 ? { ...rest, meta: kept } : rest;
}
