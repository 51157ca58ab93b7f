// A titled part of a view.
import type { ComponentChildren, VNode } from 'preact';
import { useId } from 'preact/hooks';

interface PanelProps {
  title: string;
  kind?: 'bad' | 'warning';
  /** Shown at the end of the title's line. */
  aside?: ComponentChildren;
  children: ComponentChildren;
}

export function Panel({ title, kind, aside, children }: PanelProps): VNode {
  const id = useId();
  return (
    <section class={kind ? `panel is-${kind}` : 'panel'} aria-labelledby={id}>
      <div class="panel-head">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
