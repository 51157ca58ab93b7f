// The lines of a source file around the place of an error.
import type { VNode } from 'preact';
import type { SourceExcerpt } from '../api-types.ts';

export function ErrorExcerpt({ excerpt }: { excerpt: SourceExcerpt }): VNode {
  const place = `${excerpt.file}:${excerpt.line}:${excerpt.column}`;
  return (
    <figure class="excerpt">
      <figcaption>
        <code>{place}</code>
      </figcaption>
      <pre tabIndex={0} role="group" aria-label={`Source around ${place}`}>
        {excerpt.lines.map(({ number, text }) => (
          <span key={number} class={number === excerpt.line ? 'line marked' : 'line'}>
            <span class="line-number">{number}</span>
            {text}
            {'\n'}
          </span>
        ))}
      </pre>
    </figure>
  );
}
