// Creating resources: from a sample file, or from JSON that the user writes or pastes.
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { SampleFile } from '../api-types.ts';
import { api } from './api.ts';
import { count } from './format.ts';
import { JsonForm } from './json-form.tsx';
import { notify } from './notices.tsx';
import { hrefOf, navigate } from './router.ts';
import { SamplePicker } from './sample-picker.tsx';

const FIRST_NAMES = ['Ada', 'Grace', 'Florence', 'Elizabeth', 'Mary', 'Rosalind'];
const LAST_NAMES = ['Lovelace', 'Hopper', 'Nightingale', 'Blackwell', 'Seacole', 'Franklin'];

export function NewResource({ type = 'Patient' }: { type: string | undefined }): VNode {
  const [text, setText] = useState(() => JSON.stringify(example(type), null, 2));
  const create = async (resource: unknown): Promise<void> => {
    const { created } = await api.post<{ created: string[] }>('resources', resource);
    notify(`${count(created.length, 'resource')} created.`);
    const [first = ''] = created;
    navigate(hrefOf(['resources', ...first.split('/').slice(0, created.length === 1 ? 2 : 1)]));
  };
  const pick = (content: unknown, kind: SampleFile['kind']): void => {
    const resource = kind === 'event' ? inputOf(content) : content;
    setText(JSON.stringify(withoutIdentity(resource), null, 2));
  };
  return (
    <section class="view narrow" aria-labelledby="new-title">
      <p class="back">
        <a href={hrefOf(['resources'])}>
          <span aria-hidden="true">← </span>All resources
        </a>
      </p>
      <div class="view-head">
        <h1 id="new-title">New resource</h1>
      </div>
      <p class="dim">
        A resource of any type, or a Bundle of them. The server gives each a new id. Bots that
        subscribe to it run.
      </p>
      <SamplePicker
        kinds={['resource', 'bundle', 'event']}
        label="Start from a file of this repository"
        onPick={pick}
      />
      <JsonForm
        label="Resource or Bundle"
        text={text}
        rows={22}
        button="Create"
        hint="Ctrl+Enter creates"
        onChange={setText}
        send={create}
      />
    </section>
  );
}

function inputOf(event: unknown): unknown {
  const { input } = event as { input?: { deletedResource?: unknown } };
  return input?.deletedResource ?? input;
}

/** Without id and meta, which the server assigns; a Bundle is left as it is. */
function withoutIdentity(resource: unknown): unknown {
  const { id, meta, ...rest } = resource as Record<string, unknown>;
  return rest['resourceType'] === 'Bundle' ? resource : rest;
}

/** A resource to start with; a patient is complete, so that one click creates it. */
function example(type: string): object {
  if (type !== 'Patient') {
    return { resourceType: type };
  }
  return {
    resourceType: 'Patient',
    active: true,
    identifier: [{ system: 'https://example.com/mrn', value: `MRN-${randomBelow(1_000_000)}` }],
    name: [{ given: [anyOf(FIRST_NAMES)], family: anyOf(LAST_NAMES) }],
    birthDate: '1820-05-12',
  };
}

function anyOf(list: string[]): string {
  return list[randomBelow(list.length)]!;
}

function randomBelow(limit: number): number {
  return Math.floor(Math.random() * limit);
}
