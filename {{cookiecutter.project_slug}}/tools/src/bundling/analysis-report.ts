// The analysis of bundles, for a terminal and as Markdown.
import { dim, table } from '../terminal/output.ts';
import type { BotAnalysis } from './analysis.ts';
import type { Difference } from './differences.ts';

/** For a terminal: a row for each bot, with its shared modules and packages below. */
export function analysisTable(bots: readonly BotAnalysis[], unused: readonly string[]): string {
  const rows = bots.flatMap((bot) => [
    [bot.name, bot.bytes, bot.minified, bot.gzip, bot.own, budgetUsed(bot)],
    ...partsOf(bot).map(({ label, bytes }) => [dim(`  ${label}`), dim(bytes.toLocaleString('en'))]),
  ]);
  const headers = ['bot', 'bytes', 'minified', 'gzip', 'own code', 'budget used'];
  return table(headers, rows) + unusedList(unused);
}

function budgetUsed({ bytes, maxBytes }: BotAnalysis): string {
  return `${Math.ceil((100 * bytes) / maxBytes)} %`;
}

/** Shared modules, then packages. */
function partsOf({ shared, packages }: BotAnalysis): { label: string; bytes: number }[] {
  return [...Object.entries(shared), ...Object.entries(packages)].map(([label, { bytes }]) => ({
    label,
    bytes,
  }));
}

export function unusedList(unused: readonly string[]): string {
  if (unused.length === 0) {
    return '';
  }
  return ['\n\nShared, but used by no bot:', ...unused].join('\n- ');
}

/** As Markdown for GitHub and GitLab, with a drawing of which bot carries what. */
export function analysisMarkdown(bots: readonly BotAnalysis[], unused: readonly string[]): string {
  const parts = [...new Set(bots.flatMap((bot) => partsOf(bot).map(({ label }) => label)))];
  const labels = parts.toSorted((a, b) => a.localeCompare(b));
  const names = labels.map((label) => label.replace('src/shared/', '').replace(/\.ts$/, ''));
  const columns = ['bot', 'bytes', 'minified', 'gzip', 'own code', ...names, 'budget'];
  return [
    '# What is in the bundles',
    '',
    'In bytes; shared modules and packages before minifying.',
    '',
    markdownRow(columns),
    markdownRow(columns.map(() => '---')),
    ...bots.map((bot) => markdownRow(cellsOf(bot, labels))),
    '',
    '```mermaid',
    'flowchart LR',
    ...bots.map(({ name }, index) => `  b${index}["${name}"]`),
    ...names.map((name, index) => `  s${index}(["${name}"])`),
    ...bots.flatMap((bot, index) =>
      partsOf(bot).map(({ label }) => `  b${index} --> s${labels.indexOf(label)}`),
    ),
    `\`\`\`${unusedList(unused)}`,
    '',
  ].join('\n');
}

function cellsOf(bot: BotAnalysis, labels: readonly string[]): (string | number)[] {
  const bytes = new Map(partsOf(bot).map((part) => [part.label, part.bytes]));
  const parts = labels.map((label) => bytes.get(label) ?? '');
  return [bot.name, bot.bytes, bot.minified, bot.gzip, bot.own, ...parts, bot.maxBytes];
}

function markdownRow(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`;
}

/**
 * @param ref - what was compared with
 * @param found - the bots whose bundles differ
 */
export function differencesTable(ref: string, found: readonly Difference[]): string {
  const toDeploy = found.filter(({ after }) => after !== undefined).map(({ name }) => name);
  const conclusion =
    toDeploy.length > 0
      ? `To deploy again: ${toDeploy.join(', ')}`
      : `No bundle differs from ${ref}.`;
  if (found.length === 0) {
    return conclusion;
  }
  const rows = found.map(({ name, before, after, because }) => {
    const change = (after ?? 0) - (before ?? 0);
    const shown = change > 0 ? `+${change}` : change;
    return [name, before ?? '', after ?? '', shown, because.join(', ')];
  });
  const headers = ['bot', `at ${ref}`, 'now', 'change', 'because of'];
  return `${table(headers, rows)}\n\n${conclusion}`;
}
