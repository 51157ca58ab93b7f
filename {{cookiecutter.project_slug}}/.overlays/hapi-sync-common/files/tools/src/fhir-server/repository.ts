// The rules by which HAPI changes resources: who wins, what is refused, what counts as no change.
// The interactions (one request each) and transactions (many changes at once) are built from these.
import type { WithId } from '@medplum/core';
import type { Meta, OperationOutcome, Resource } from '@medplum/fhirtypes';
import { FhirError, storageOutcome } from './errors.ts';
import type { StorageOutcomeCode } from './errors.ts';
import { parseMatchUrl, satisfies } from './match-url.ts';
import { assertIndexable } from './primitives.ts';
import { assertTargetTypes, linksOf, referenceElementsOf } from './references.ts';
import type { Link } from './references.ts';
import { withContainedIds } from './resource-parser.ts';
import type { JsonObject } from './resource-parser.ts';
import { isLiving, latestVersionOf, nextVersionId, ResourceStore } from './resource-store.ts';
import type { ResourceRecord } from './resource-store.ts';
import { findRecords, indexedTextsOf } from './search-matching.ts';
import { hasSameTags, mergeTags, TagDefinitions, tagsAsMeta } from './tags.ts';

const SUBSETTED_SYSTEM = 'http://hl7.org/fhir/v3/ObservationValue'; // the one of DSTU3, also for R4
const VALID_ID = /^[A-Za-z0-9.-]{1,64}$/;

/** What a create or an update did. */
export interface WriteResult {
  record: ResourceRecord;
  /** As the response to the write shows it; a later read may show other tags. */
  resource: WithId<Resource>;
  created: boolean;
  /** False for an update that changes nothing: there is no new version then. */
  changed: boolean;
  outcome: OperationOutcome;
}

export interface WriteOptions {
  /** The header `X-Meta-Snapshot-Mode`. */
  snapshotMode?: string | undefined;
  /** The conditional URL of the write, with its resource type, if it has one. */
  matchUrl?: string | undefined;
  /** Resources that a transaction has found or is about to write: references to them are valid. */
  known?: Map<string, ResourceRecord | undefined> | undefined;
  /**
   * What conditional URLs of a transaction have been found to mean; undefined where nothing
   * matches.
   */
  resolvedUrls?: Map<string, ResourceRecord | undefined> | undefined;
  /**
   * Whether the request is a PUT; a create by a PUT is reported with other codes than one by a
   * POST.
   */
  isUpdate?: boolean | undefined;
  /** Whether the write is part of a Bundle, which checks conditional URLs itself at its end. */
  inBundle?: boolean | undefined;
}

export class Repository {
  readonly store = new ResourceStore();
  /** Milliseconds since 1970. */
  readonly now: () => number;
  private readonly tagDefinitions = new TagDefinitions();
  private readonly matchedVersions = new Map<string, { record: ResourceRecord; version: number }>();
  private transactionTime: string | undefined;

  constructor(now: () => number) {
    this.now = now;
  }

  /** The time as HAPI writes it, for example `2026-01-05T09:00:00.000+00:00`. */
  timestamp(): string {
    return new Date(this.now()).toISOString().replace('Z', '+00:00');
  }

  /**
   * Runs changes that belong together and happen at the same time.
   *
   * @throws what `change` throws; all its changes are undone then
   */
  atomically<T>(change: () => T): T {
    const isNested = this.transactionTime !== undefined;
    this.transactionTime ??= this.timestamp();
    try {
      return this.store.atomically(change);
    } finally {
      if (!isNested) {
        this.transactionTime = undefined;
      }
    }
  }

  /** @throws FhirError 400 HAPI-0518 for a URL that has no search parameter with a value */
  findMatches(matchUrl: string): ResourceRecord[] {
    const { type, criteria } = parseMatchUrl(matchUrl);
    if (criteria.length === 0) {
      throw new FhirError(
        400,
        `HAPI-0518: Invalid match URL[${matchUrl}] - URL has no search parameters`,
      );
    }
    return findRecords(this.store, type, criteria);
  }

  /**
   * Remembers which version a resource had when a conditional create found it.
   *
   * @returns the version when one found it first. A conditional create in a bundle names this
   *   version, also after updates, as on a real HAPI.
   */
  rememberMatch(matchUrl: string, record: ResourceRecord): number {
    const known = this.matchedVersions.get(matchUrl);
    if (known?.record === record) {
      return known.version;
    }
    const version = latestVersionOf(record).versionId;
    this.matchedVersions.set(matchUrl, { record, version });
    return version;
  }

  /**
   * Finds what a conditional delete is about. A URL that restricts nothing matches every resource
   * of the type: `?identifier=` or `?_format=json` deletes whatever single resource there is, as on
   * a real HAPI.
   *
   * @throws FhirError 412 HAPI-0962 where several resources match
   */
  findForDelete(matchUrl: string): ResourceRecord | undefined {
    const { type, criteria } = parseMatchUrl(matchUrl);
    const matches = findRecords(this.store, type, criteria);
    return onlyMatch(matches, 'DELETE', matchUrl);
  }

  /**
   * Stores a new resource.
   *
   * @param id - chosen by the client; undefined: the server assigns one
   * @throws FhirError 400 for an id, a reference or a conditional URL that HAPI refuses
   */
  create(body: JsonObject, id: string | undefined, options: WriteOptions = {}): WriteResult {
    return this.atomically(() => this.fill(this.reserve(body, id), body, options));
  }

  /**
   * Makes a record for a new resource. It cannot be found before `fill`, but a transaction can
   * refer to it.
   *
   * @throws FhirError 400 HAPI-0521 or HAPI-0960 for an id that a client may not choose
   */
  reserve(body: JsonObject, id: string | undefined): ResourceRecord {
    const type = String(body.resourceType);
    if (id !== undefined) {
      assertClientId(id);
    }
    return this.store.create(type, id ?? this.store.assignId());
  }

  /** Stores the first version of a resource. */
  fill(record: ResourceRecord, body: JsonObject, options: WriteOptions): WriteResult {
    const { matchUrl, inBundle = false } = options;
    const links = this.check(body, options, options.isUpdate ? 'HAPI-2223' : 'HAPI-0389');
    if (matchUrl !== undefined && !inBundle) {
      assertSatisfies(body, matchUrl);
    }
    const resource = this.storeVersion(record, body, links, options);
    const outcome = writeOutcome(createCode(options), 'created', record);
    return { record, resource, created: true, changed: true, outcome };
  }

  /**
   * Stores the next version of a resource, unless nothing changes.
   *
   * @throws FhirError 400 for a reference that HAPI refuses
   */
  update(record: ResourceRecord, body: JsonObject, options: WriteOptions = {}): WriteResult {
    return this.atomically(() => this.addUpdate(record, body, options));
  }

  private addUpdate(record: ResourceRecord, body: JsonObject, options: WriteOptions): WriteResult {
    const known = (options.known ?? new Map<string, ResourceRecord>()).set(
      `${record.type}/${record.id}`,
      record,
    );
    const links = this.check(body, { ...options, known }, 'HAPI-2223');
    const isConditional = options.matchUrl !== undefined;
    const wasDeleted = !isLiving(record);
    const changed = wasDeleted || !this.isUnchanged(record, body, options.snapshotMode);
    const resource = changed
      ? this.storeVersion(record, body, links, options)
      : responseResource(record, body);
    const code = updateCode({ wasDeleted, changed, isConditional });
    const outcome = writeOutcome(code, changed ? 'updated' : 'not changed', record);
    return { record, resource, created: wasDeleted, changed, outcome };
  }

  /** Checks a resource in the order in which HAPI does, and replaces its conditional references. */
  private check(
    body: JsonObject,
    { known, resolvedUrls }: WriteOptions,
    indexingError: string,
  ): Link[] {
    assertNotSubsetted(body);
    assertTargetTypes(body);
    this.resolveReferences(body, known, resolvedUrls);
    const links = this.checkedLinks(body, known);
    assertIndexed(body, indexingError);
    return links;
  }

  private isUnchanged(
    record: ResourceRecord,
    body: JsonObject,
    snapshotMode: string | undefined,
  ): boolean {
    const given = this.tagDefinitions.read(body.meta as Meta | undefined);
    const tags = mergeTags(record.tags, given, snapshotMode);
    return record.content === contentOf(body) && hasSameTags(record.tags, tags);
  }

  private storeVersion(
    record: ResourceRecord,
    body: JsonObject,
    links: readonly Link[],
    { snapshotMode, inBundle = false }: WriteOptions,
  ): WithId<Resource> {
    // A quirk of HAPI: over a tombstone, a resource with references takes two versions, the first
    // of which never exists.
    const wasDeleted = record.versions.length > 0 && !isLiving(record);
    const skipped = wasDeleted && links.length > 0 && !inBundle ? 1 : 0;
    const versionId = nextVersionId(record) + skipped;
    const lastUpdated = this.transactionTime ?? this.timestamp();
    const given = this.tagDefinitions.read(body.meta as Meta | undefined);
    const tags = mergeTags(record.tags, given, snapshotMode);
    const meta = {
      versionId: String(versionId),
      lastUpdated,
      ...storedMeta(body),
      ...tagsAsMeta(tags),
    };
    const {
      resourceType,
      id: _id,
      meta: _meta,
      ...elements
    } = withContainedIds(withoutLoneSurrogates(body));
    const resource = {
      resourceType,
      id: record.id,
      meta,
      ...elements,
    } as unknown as WithId<Resource>;
    const version = { versionId, lastUpdated, resource };
    this.store.addVersion(record, { version, tags, content: contentOf(body), links });
    return versionId === 1 ? createdResource(resource, body) : responseResource(record, body);
  }

  /**
   * Deletes a resource: a tombstone becomes its next version.
   *
   * @returns false if it was deleted already
   */
  delete(record: ResourceRecord): boolean {
    if (!isLiving(record)) {
      return false;
    }
    this.atomically(() => {
      const lastUpdated = this.transactionTime ?? this.timestamp();
      const version = { versionId: nextVersionId(record), lastUpdated };
      this.store.addVersion(record, { version, tags: record.tags, content: '', links: [] });
    });
    return true;
  }

  /** @returns the resources that stand in the way of deleting this one; it may refer to itself */
  findReferrers(record: ResourceRecord): { referrer: ResourceRecord; path: string }[] {
    const referrers = [...this.store.referringTo(record.type, record.id)];
    return referrers
      .filter(([referrer]) => referrer !== record)
      .map(([referrer, path]) => ({ referrer, path }));
  }

  /**
   * Makes references plain, in place: without versions, and conditional ones
   * (`Patient?identifier=…`) resolved.
   *
   * @throws FhirError 404 HAPI-1091 where no resource matches, 412 HAPI-1092 where several match
   */
  private resolveReferences(
    body: JsonObject,
    known: WriteOptions['known'],
    resolvedUrls: WriteOptions['resolvedUrls'],
  ): void {
    for (const { element } of referenceElementsOf(body)) {
      const { reference } = element;
      if (!reference.includes('?')) {
        element.reference = reference.replace(/\/_history\/.*$/, '');
        continue;
      }
      const matchUrl = matchUrlOfReference(reference);
      const record =
        resolvedUrls?.get(matchUrl) ?? this.findReferenced(matchUrl, reference, resolvedUrls);
      element.reference = `${record.type}/${record.id}`;
      known?.set(element.reference, record);
    }
  }

  private findReferenced(
    matchUrl: string,
    reference: string,
    resolvedUrls: WriteOptions['resolvedUrls'],
  ): ResourceRecord {
    const matches = resolvedUrls?.has(matchUrl) ? [] : this.findMatches(matchUrl);
    if (matches.length > 1) {
      const text =
        `HAPI-1092: Invalid match URL "${reference}" - ` + 'Multiple resources match this search';
      throw new FhirError(412, text);
    }
    if (!matches[0]) {
      throw new FhirError(
        404,
        `HAPI-1091: Invalid match URL "${reference}" - No resources match this search`,
      );
    }
    resolvedUrls?.set(matchUrl, matches[0]);
    return matches[0];
  }

  /**
   * @throws FhirError 400 HAPI-1094 for a reference to a resource that does not exist, HAPI-1096 to
   *   a deleted one
   */
  private checkedLinks(body: JsonObject, known: WriteOptions['known']): Link[] {
    const links = linksOf(body);
    for (const { target, path } of links) {
      if (known?.get(target)) {
        continue;
      }
      const [type = '', id = ''] = target.split('/');
      const record = this.store.find(type, id);
      if (!record || record.versions.length === 0) {
        throw new FhirError(
          400,
          `HAPI-1094: Resource ${target} not found, specified in path: ${path}`,
        );
      }
      if (!isLiving(record)) {
        throw new FhirError(
          400,
          `HAPI-1096: Resource ${target} is deleted, specified in path: ${path}`,
        );
      }
    }
    return links;
  }
}

/**
 * @returns the match; undefined if there is none
 * @throws FhirError 412 where several resources match
 */
export function onlyMatch(
  matches: ResourceRecord[],
  verb: 'CREATE' | 'UPDATE' | 'DELETE',
  matchUrl: string,
): ResourceRecord | undefined {
  if (matches.length <= 1) {
    return matches[0];
  }
  const number = { CREATE: '0958', UPDATE: '0988', DELETE: '0962' }[verb];
  const [type] = matchUrl.split('?');
  throw new FhirError(
    412,
    `HAPI-${number}: Failed to ${verb} ${type} with match URL "${matchUrl}" because this ` +
      `search matched ${matches.length} resources`,
  );
}

/** @returns `Patient?identifier=…` also for a reference with an address before it */
export function matchUrlOfReference(reference: string): string {
  const questionMark = reference.indexOf('?');
  const path = reference.slice(0, questionMark).replace(/\/$/, '');
  return path.slice(path.lastIndexOf('/') + 1) + reference.slice(questionMark);
}

function assertClientId(id: string): void {
  if (!VALID_ID.test(id)) {
    throw new FhirError(
      400,
      `HAPI-0521: Can not process entity with ID[${id}], this is not a valid FHIR ID`,
    );
  }
  if (/^\d+$/.test(id)) {
    throw new FhirError(
      400,
      `HAPI-0960: Can not create resource with ID[${id}], no resource with this ID exists and ` +
        'clients may only assign IDs which contain at least one non-numeric character',
    );
  }
}

/** A resource that was read with `_elements` or `_summary` must not be written back. */
function assertNotSubsetted(body: JsonObject): void {
  const { tag: tags = [] } = (body.meta ?? {}) as Meta;
  if (tags.some(({ system, code }) => system === SUBSETTED_SYSTEM && code === 'SUBSETTED')) {
    throw new FhirError(
      422,
      "HAPI-0933: Resource contains the 'subsetted' tag, and must not be stored as it may " +
        'contain a subset of available data',
    );
  }
}

function assertSatisfies(body: JsonObject, matchUrl: string): void {
  if (!satisfies(body as unknown as Resource, matchUrl)) {
    throw new FhirError(
      400,
      'HAPI-0929: Failed to process conditional create. ' +
        `The supplied resource did not satisfy the conditional URL ${matchUrl}`,
    );
  }
}

/**
 * Half a surrogate pair, or a date beside a space: HAPI fails on them while it indexes the
 * resource.
 */
const MAYBE_NOT_INDEXABLE = /\\ud[89a-f]|" ?\d[^"]* "|" \d/;

function assertIndexed(body: JsonObject, indexingError: string): void {
  if (MAYBE_NOT_INDEXABLE.test(JSON.stringify(body))) {
    const { texts, dates } = indexedTextsOf(body as unknown as Resource);
    assertIndexable(texts, dates, indexingError);
  }
}

/** Of a client's `meta` only extensions are stored with the resource; tags are stored beside it. */
function storedMeta(body: JsonObject): Pick<Meta, 'id' | 'extension'> {
  const { id, extension } = (body.meta ?? {}) as Meta;
  if (!extension) {
    return {};
  }
  return id === undefined ? { extension } : { id, extension };
}

/** The response to a create shows tags, profiles and source as they were sent. */
function createdResource(stored: WithId<Resource>, body: JsonObject): WithId<Resource> {
  const { versionId, lastUpdated } = stored.meta ?? {};
  const given = (body.meta ?? {}) as Meta;
  return { ...stored, meta: { ...given, versionId, lastUpdated } } as WithId<Resource>;
}

/**
 * The response to an update shows the tags that the resource has now, and the source that was sent.
 */
function responseResource(record: ResourceRecord, body: JsonObject): WithId<Resource> {
  const stored = latestVersionOf(record).resource!;
  const { source } = (body.meta ?? {}) as Meta;
  return source === undefined ? stored : { ...stored, meta: { ...stored.meta, source } };
}

/** Half a surrogate pair that is not indexed is stored as a question mark. */
function withoutLoneSurrogates(body: JsonObject): JsonObject {
  const json = JSON.stringify(body);
  return LONE_SURROGATE.test(json)
    ? (JSON.parse(json.replaceAll(LONE_SURROGATE, '?')) as JsonObject)
    : body;
}

/** As `JSON.stringify` writes them. */
const LONE_SURROGATE = /\\ud[89a-f][0-9a-f]{2}/g;

function contentOf(body: JsonObject): string {
  const { id: _id, meta: _meta, ...elements } = body;
  return JSON.stringify({ ...elements, meta: storedMeta(body) });
}

function createCode({ isUpdate = false, matchUrl }: WriteOptions): StorageOutcomeCode {
  if (isUpdate) {
    return matchUrl === undefined
      ? 'SUCCESSFUL_UPDATE_AS_CREATE'
      : 'SUCCESSFUL_UPDATE_NO_CONDITIONAL_MATCH';
  }
  return matchUrl === undefined ? 'SUCCESSFUL_CREATE' : 'SUCCESSFUL_CREATE_NO_CONDITIONAL_MATCH';
}

interface UpdateFacts {
  wasDeleted: boolean;
  changed: boolean;
  isConditional: boolean;
}

function updateCode({ wasDeleted, changed, isConditional }: UpdateFacts): StorageOutcomeCode {
  if (!changed) {
    return isConditional
      ? 'SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH_NO_CHANGE'
      : 'SUCCESSFUL_UPDATE_NO_CHANGE';
  }
  if (isConditional) {
    return wasDeleted
      ? 'SUCCESSFUL_UPDATE_NO_CONDITIONAL_MATCH'
      : 'SUCCESSFUL_UPDATE_WITH_CONDITIONAL_MATCH';
  }
  return wasDeleted ? 'SUCCESSFUL_UPDATE_AS_CREATE' : 'SUCCESSFUL_UPDATE';
}

function writeOutcome(
  code: StorageOutcomeCode,
  verb: string,
  record: ResourceRecord,
): OperationOutcome {
  const { versionId } = latestVersionOf(record);
  return storageOutcome(
    code,
    `Resource "${record.type}/${record.id}/_history/${versionId}" was ${verb}.`,
  );
}
