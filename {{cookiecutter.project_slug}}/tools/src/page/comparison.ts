// Compares what the local Medplum and the external FHIR server hold of one type.
import type { WithId } from '@medplum/core';
import type { Identifier, Resource } from '@medplum/fhirtypes';
import { Hono } from 'hono';
import { RESOURCE_TYPES } from '../config/resource-types.ts';
import type { ExternalServer } from '../external-server.ts';
import type { MedplumServer } from '../medplum/server.ts';
import type {
  Comparison,
  ComparisonPair,
  ComparisonRow,
  ComparisonState,
  TypeCount,
} from './api-types.ts';
import { PageError } from './page-error.ts';
import { living, titleOf } from './store-view.ts';

const ROWS_A_PAGE = 100;

interface Pair {
  medplum: WithId<Resource> | undefined;
  external: WithId<Resource> | undefined;
}

export function comparisonApi(server: MedplumServer, external: ExternalServer): Hono {
  const api = new Hono();
  const { store } = server.repository.state;

  const pairsOf = (type: string): Pair[] => {
    const resourceType = type as Resource['resourceType'];
    return pair(living(store, resourceType), living(external.store, resourceType));
  };

  api.get('/', (c) => {
    const types: TypeCount[] = RESOURCE_TYPES.map((type) => {
      return { type, count: living(external.store, type as Resource['resourceType']).length };
    });
    return c.json({ types: types.filter(({ count }) => count > 0) });
  });
  api.get('/:type', (c) => {
    const rows = pairsOf(c.req.param('type')).map(toRow);
    const { state, offset = '0' } = c.req.query();
    const wanted = state ? rows.filter((row) => row.state === state) : rows;
    const from = Number.parseInt(offset, 10) || 0;
    const comparison: Comparison = {
      rows: wanted.slice(from, from + ROWS_A_PAGE),
      total: wanted.length,
      counts: countStates(rows),
    };
    return c.json(comparison);
  });
  /** The id is that of either side. */
  api.get('/:type/:id', (c) => {
    const { type, id } = c.req.param();
    const found = pairsOf(type).find(({ medplum, external }) =>
      [medplum?.id, external?.id].includes(id),
    );
    if (!found) {
      throw new PageError(404, `Neither server has ${type}/${id} any more.`);
    }
    const compared: ComparisonPair = {
      medplum: found.medplum && content(found.medplum),
      external: found.external && content(found.external, found.medplum?.id),
    };
    return c.json(compared);
  });
  return api;
}

/**
 * Pairs resources by id, or by an identifier that both have or whose value is Medplum's id; newest
 * first.
 */
function pair(medplum: WithId<Resource>[], external: WithId<Resource>[]): Pair[] {
  const byToken = new Map<string, WithId<Resource>>();
  for (const resource of external) {
    for (const token of tokensOf(resource)) {
      byToken.set(token, resource);
    }
  }
  const matched = new Set<WithId<Resource>>();
  const pairs: Pair[] = medplum.map((resource) => {
    const other = tokensOf(resource)
      .map((token) => byToken.get(token))
      .find((candidate) => candidate && !matched.has(candidate));
    if (other) {
      matched.add(other);
    }
    return { medplum: resource, external: other };
  });
  for (const resource of external) {
    if (!matched.has(resource)) {
      pairs.push({ medplum: undefined, external: resource });
    }
  }
  return pairs.toReversed();
}

function tokensOf(resource: WithId<Resource>): string[] {
  const { identifier } = resource as { identifier?: Identifier | Identifier[] };
  const identifiers = [identifier ?? []].flat();
  const pairs = identifiers.map(({ system, value }) => `${system ?? ''}|${value ?? ''}`);
  return [resource.id, ...identifiers.flatMap(({ value }) => value ?? []), ...pairs];
}

function toRow({ medplum, external }: Pair): ComparisonRow {
  return {
    state: stateOf(medplum, external),
    title: titleOf((medplum ?? external)!),
    medplumId: medplum?.id,
    externalId: external?.id,
  };
}

function stateOf(medplum: Resource | undefined, external: Resource | undefined): ComparisonState {
  if (!external) {
    return 'only-medplum';
  }
  if (!medplum) {
    return 'only-external';
  }
  const medplumText = JSON.stringify(content(medplum));
  const externalText = JSON.stringify(content(external, medplum.id));
  return medplumText === externalText ? 'same' : 'different';
}

/**
 * The resource without what each server assigns itself, with its members in one order.
 *
 * @param medplumId - an identifier with this value is left out: the sync adds it to find the
 *   resource again
 */
function content(resource: Resource, medplumId?: string): unknown {
  const { id, meta, identifier, ...rest } = resource as Resource & { identifier?: unknown };
  if (!Array.isArray(identifier)) {
    return sorted(identifier === undefined ? rest : { ...rest, identifier });
  }
  const kept = (identifier as Identifier[]).filter(
    ({ value }) => medplumId === undefined || value !== medplumId,
  );
  return sorted(kept.length > 0 ? { ...rest, identifier: kept } : rest);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted);
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  const entries = Object.entries(value).toSorted(([a], [b]) => a.localeCompare(b));
  return Object.fromEntries(entries.map(([key, member]) => [key, sorted(member)]));
}

function countStates(rows: ComparisonRow[]): Comparison['counts'] {
  const counts = { same: 0, different: 0, 'only-medplum': 0, 'only-external': 0 };
  for (const { state } of rows) {
    counts[state] += 1;
  }
  return counts;
}
