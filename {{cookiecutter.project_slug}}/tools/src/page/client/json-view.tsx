// JSON with colours; references to resources are links.
import type { ComponentChildren, VNode } from 'preact';
import { useMemo } from 'preact/hooks';
import type { JsonText } from '../api-types.ts';
import { CopyButton } from './copy-button.tsx';
import { formatBytes } from './format.ts';
import { hrefOf } from './router.ts';

/** Longer texts are shown without colours, which take the browser a while. */
const COLOURED_LENGTH = 60_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/gi;
const REFERENCE = /^"([A-Z][A-Za-z]+)\/([0-9a-f-]{36})"$/;

export function JsonView({ json, label }: { json: JsonText; label: string }): VNode {
  const content = useMemo(() => {
    return json.text.length > COLOURED_LENGTH ? json.text : colour(json.text);
  }, [json.text]);
  const missing = json.length - json.text.length;
  return (
    <div class="json">
      <CopyButton text={json.text} label={label} />
      <pre tabIndex={0} role="group" aria-label={label}>
        {content}
      </pre>
      {missing > 0 && <p class="dim">{formatBytes(missing)} more are not shown.</p>}
    </div>
  );
}

function colour(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    parts.push(text.slice(end, match.index));
    const [token, string, colon] = match;
    parts.push(string === undefined ? <span class="literal">{token}</span> : quoted(string, colon));
    end = match.index + token.length;
  }
  parts.push(text.slice(end));
  return parts;
}

function quoted(string: string, colon: string | undefined): ComponentChildren {
  if (colon !== undefined) {
    return (
      <>
        <span class="key">{string}</span>
        {colon}
      </>
    );
  }
  const [, type, id] = REFERENCE.exec(string) ?? [];
  if (type !== undefined && id !== undefined) {
    return (
      <a class="string" href={hrefOf(['resources', type, id])}>
        {string}
      </a>
    );
  }
  return <span class="string">{string}</span>;
}
