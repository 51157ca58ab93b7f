// Chained searches: `subject:Patient.name=` follows a reference, `_has:Observation:subject:code=`
// follows it back.
import * as core from '@medplum/core';
import type { Filter, WithId } from '@medplum/core';
import type { Resource, ResourceType } from '@medplum/fhirtypes';
import { refuse } from './conditions.ts';
import type { Condition } from './conditions.ts';
import type { FilterContext } from './context.ts';
import { columnOf, columnValues } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';
import { referencedIds } from './references.ts';

const MOST_LINKS = 3;

interface ChainLink {
  direction: 'forward' | 'reverse';
  /** The type of the resources that the link leads to. */
  targetType: ResourceType;
  /** The reference parameter, of the type that holds the reference. */
  column: SearchColumn;
}

interface Chain {
  links: ChainLink[];
  /** On the resources at the end. */
  filter: Filter;
}

export function isChained({ code }: Filter): boolean {
  return code.startsWith('_has:') || code.includes('.');
}

export function chainCondition(context: FilterContext, type: string, filter: Filter): Condition {
  const chain = parseChain(type, filter);
  const [first] = chain.links;
  if (chain.links.length > MOST_LINKS) {
    refuse('Search chains longer than three links are not currently supported');
  }
  if (chain.links.length === 1 && chain.filter.code === '_id' && first!.direction === 'forward') {
    // Compared with the reference itself: there need not be such a resource.
    const { code } = first!.column.param;
    const value = `${first!.targetType}/${chain.filter.value}`;
    return context.condition(type, { ...chain.filter, code, value });
  }
  for (const { targetType } of chain.links) {
    context.assertSearch(targetType);
  }
  const lastType = chain.links.at(-1)!.targetType;
  const atEnd = context.condition(lastType, chain.filter);
  return (resource) => {
    let reached: WithId<Resource>[] = [resource];
    for (const link of chain.links) {
      reached = reached.flatMap((from) => follow(context, link, from));
    }
    return reached.some((target) => atEnd(target) === true);
  };
}

function follow(
  context: FilterContext,
  link: ChainLink,
  from: WithId<Resource>,
): WithId<Resource>[] {
  return link.direction === 'forward'
    ? followForward(context, link, from)
    : followBack(context, link, from);
}

function followForward(
  { store }: FilterContext,
  { targetType, column }: ChainLink,
  from: WithId<Resource>,
): WithId<Resource>[] {
  if (column.details.type === core.SearchParameterType.CANONICAL) {
    const urls = columnValues(column, from);
    return [...store.living(targetType)].filter((target) => urls.includes(urlOf(target) ?? ''));
  }
  return referencedIds(column, from).flatMap((id) => {
    const latest = store.latest(targetType, id);
    return latest ? [latest.resource] : [];
  });
}

function followBack(
  { store }: FilterContext,
  { targetType, column }: ChainLink,
  from: WithId<Resource>,
): WithId<Resource>[] {
  const isCanonical = column.details.type === core.SearchParameterType.CANONICAL;
  return [...store.living(targetType)].filter((source) =>
    isCanonical
      ? columnValues(column, source).includes(urlOf(from) ?? '')
      : referencedIds(column, source).includes(from.id),
  );
}

function urlOf(resource: Resource): string | undefined {
  return (resource as { url?: string }).url;
}

function parseChain(type: string, { code: chained, operator, value }: Filter): Chain {
  const links: ChainLink[] = [];
  let current = type;
  const parts = splitChain(chained);
  const last = parts.pop() ?? '';
  for (const part of parts) {
    const link = part.startsWith('_has:') ? reverseLink(part, current) : forwardLink(part, current);
    links.push(link);
    current = link.targetType;
  }
  if (last === '' || last.startsWith('_has:')) {
    refuse('Unterminated chained search');
  }
  const [code = '', modifier = ''] = splitOnce(last, ':');
  if (code === '_filter') {
    return { links, filter: { code, operator: core.Operator.EQUALS, value } };
  }
  const param = core.getSearchParameter(current, code);
  if (!param) {
    refuse(`Invalid search parameter at end of chain: ${current}?${code}`);
  }
  return { links, filter: core.parseParameter(param, operator, modifier, value) };
}

/** Cuts at dots, and after each `_has:Type:parameter:`. */
function splitChain(chained: string): string[] {
  const parts: string[] = [];
  let rest = chained;
  while (rest) {
    const [reverse] = /^_has:[^:]*:[^:]+(?=:)/.exec(rest) ?? [];
    if (rest.startsWith('_has:') && !reverse) {
      refuse(`Invalid search chain: ${rest}`);
    }
    const part = reverse ?? splitOnce(rest, '.')[0]!;
    parts.push(part);
    rest = rest.slice(part.length + 1);
  }
  return parts;
}

function forwardLink(part: string, type: string): ChainLink {
  const [code = '', modifier = ''] = splitOnce(part, ':');
  const column = linkColumn(type, code);
  const { target = [] } = column.param;
  const targetType = target.length === 1 ? target[0] : target.find((name) => name === modifier);
  if (!targetType) {
    refuse(`Unable to identify next resource type for search parameter: ${type}?${code}`);
  }
  return { direction: 'forward', targetType, column };
}

function reverseLink(part: string, type: string): ChainLink {
  const [, sourceType = '', code = ''] = part.split(':');
  const column = linkColumn(sourceType, code);
  if (!column.param.target?.includes(type as ResourceType)) {
    refuse(
      `Invalid reverse chain link: search parameter ${sourceType}?${code} ` +
        `does not refer to ${type}`,
    );
  }
  return { direction: 'reverse', targetType: sourceType as ResourceType, column };
}

function linkColumn(type: string, code: string): SearchColumn {
  const param = core.getSearchParameter(type, code);
  const column = param && columnOf(type, param);
  if (!column || column.strategy !== 'column') {
    refuse(`Invalid search parameter in chain: ${type}?${code}`);
  }
  return column;
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
