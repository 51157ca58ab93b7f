// A transaction, in the steps in which HAPI performs it: look up what its entries name, write in
// the order DELETE, POST, PUT, then replace the references between the entries, and check at the
// end that the whole is consistent.
import type { WithId } from '@medplum/core';
import type { OperationOutcome, Resource } from '@medplum/fhirtypes';
import { statusText } from './bundle-entries.ts';
import type { BundleRequestEntry, BundleResponseEntry } from './bundle-entries.ts';
import { isResourceType } from './definitions.ts';
import { FhirError, notAvailableLocally, storageOutcome } from './errors.ts';
import {
  alreadyDeleted,
  assertVersion,
  deleteConflict,
  deleted,
  nothingToDelete,
  versionOfETag,
} from './interactions.ts';
import { parseMatchUrl, qualifyMatchUrl, satisfies } from './match-url.ts';
import { header } from './messages.ts';
import type { FhirRequest } from './messages.ts';
import { parseReference, referenceElementsOf, replaceUris } from './references.ts';
import { matchUrlOfReference, onlyMatch } from './repository.ts';
import type { Repository, WriteOptions } from './repository.ts';
import type { JsonObject } from './resource-parser.ts';
import { isLiving, latestVersionOf, livingResourceOf, nextVersionId } from './resource-store.ts';
import type { ResourceRecord } from './resource-store.ts';

const ORDER = ['DELETE', 'POST', 'PUT', 'PATCH', 'HEAD'];
/** HAPI looks these conditional URLs up before it writes anything. */
const LOOKED_UP_FIRST = /^[^?]+\?[a-z0-9-]+=[^&,]+/;

/** An entry that writes, and its response. */
interface WriteEntry {
  index: number;
  method: string;
  /** The type and the id of its URL, or the conditional URL with its type. */
  type: string;
  id: string | undefined;
  query: string;
  fullUrl: string;
  ifMatch: string;
  ifNoneExist: string;
  body: JsonObject | undefined;
  response: BundleResponseEntry['response'];
  /** What `location` and `etag` of the response will say. */
  written?: { record: ResourceRecord; versionId: number } | undefined;
}

/**
 * A version of a resource that will be written; the last of several entries about the same version
 * counts.
 */
interface PendingWrite {
  record: ResourceRecord;
  body: JsonObject;
  kind: 'create' | 'update';
  /** Whether the entry is a PUT. */
  isUpdate: boolean;
  matchUrl: string | undefined;
}

export class Transaction {
  private readonly repository: Repository;
  private readonly request: FhirRequest;
  /**
   * `Type/id` -> what was found there at the beginning, or is being written; undefined: nothing was
   * there.
   */
  private readonly known = new Map<string, ResourceRecord | undefined>();
  /** Conditional URL -> what matches it; undefined: nothing matched. */
  private readonly resolvedUrls = new Map<string, ResourceRecord | undefined>();
  /** `urn:uuid:…` and ids that clients chose -> what they became, as `Type/id`. */
  private readonly substitutions = new Map<string, string>();
  /** By the address of the version, for example `Patient/1/_history/2`. */
  private readonly pending = new Map<string, PendingWrite>();
  private readonly lastEntryOf = new Map<ResourceRecord, WriteEntry>();
  private readonly deleted = new Set<ResourceRecord>();
  private readonly conflicts: { target: ResourceRecord; referrer: ResourceRecord; path: string }[] =
    [];
  /** The conditional URLs of resources that are created here. */
  private readonly creatingUrls = new Set<string>();
  /** Conditional URL -> what was written by it, to be checked at the end. */
  private readonly urlsToVerify = new Map<string, ResourceRecord>();

  constructor(repository: Repository, request: FhirRequest) {
    this.repository = repository;
    this.request = request;
  }

  /**
   * Performs the entries that write. Nothing is changed if one of them fails.
   *
   * @returns the responses by the index of their entry; nothing for entries that read, or that
   *   repeat another one
   */
  write(entries: BundleRequestEntry[]): (BundleResponseEntry | undefined)[] {
    const writes = entries
      .map((entry, index) => readEntry(entry, index))
      .filter(({ method }) => method !== 'GET');
    const sorted = sortEntries(writes);
    return this.repository.atomically(() => {
      this.lookUp(sorted);
      const distinct = this.consolidate(sorted);
      this.writeAll(distinct);
      const responses: (BundleResponseEntry | undefined)[] = [];
      for (const entry of distinct) {
        responses[entry.index] = { response: describe(entry) };
      }
      return responses;
    });
  }

  private writeAll(entries: WriteEntry[]): void {
    const ids = new Set<string>();
    for (const entry of entries) {
      assertUrl(entry);
      assertDistinctId(entry, ids);
      this.writeEntry(entry);
    }
    this.assertNoDeleteConflicts();
    for (const write of this.pending.values()) {
      this.finish(write);
    }
    this.assertNoDuplicates();
    this.assertUrlsStillMatch();
  }

  /**
   * Finds what PUT entries, references and conditional URLs name, as it is before the transaction.
   */
  private lookUp(entries: WriteEntry[]): void {
    for (const { method, type, id, body, query, ifNoneExist } of entries) {
      if (!body) {
        continue;
      }
      if (method === 'PUT' && id !== undefined) {
        this.known.set(`${type}/${id}`, this.findExisting(type, id));
      }
      if (method === 'PUT' && id === undefined) {
        this.lookUpUrl(`${type}?${query}`);
      }
      if (method === 'POST' && ifNoneExist.includes('?')) {
        this.lookUpUrl(ifNoneExist);
      }
      for (const { element } of referenceElementsOf(body)) {
        this.lookUpReference(element.reference);
      }
    }
  }

  private findExisting(type: string, id: string): ResourceRecord | undefined {
    const record = this.repository.store.find(type, id);
    return record && record.versions.length > 0 ? record : undefined;
  }

  private lookUpReference(reference: string): void {
    if (reference.includes('?')) {
      this.lookUpUrl(matchUrlOfReference(reference));
      return;
    }
    const { type, id, base } = parseReference(reference);
    const target = `${type}/${id}`;
    if (type && id && !base && !this.known.has(target)) {
      const record = this.findExisting(type, id);
      this.known.set(target, record && isLiving(record) ? record : undefined);
    }
  }

  private lookUpUrl(matchUrl: string): void {
    if (!LOOKED_UP_FIRST.test(matchUrl) || this.resolvedUrls.has(matchUrl)) {
      return;
    }
    const matches = this.repository.findMatches(matchUrl);
    if (matches.length > 1) {
      throw new FhirError(
        412,
        `HAPI-2207: Invalid match URL "${matchUrl}" - Multiple resources match this search`,
      );
    }
    this.resolvedUrls.set(matchUrl, matches[0]);
  }

  /**
   * Two entries with the same conditional URL are one, if they have a fullUrl to refer to; else an
   * error.
   */
  private consolidate(entries: WriteEntry[]): WriteEntry[] {
    const fullUrls = new Map<string, string>();
    return entries.filter((entry) => {
      const { method, type, query, ifNoneExist, fullUrl, body } = entry;
      const condition =
        method === 'PUT' && entry.id === undefined && query !== ''
          ? `${type}?${query}`
          : ifNoneExist;
      if (
        !body ||
        condition === '' ||
        (method !== 'PUT' && method !== 'POST') ||
        (method === 'PUT' && entry.id !== undefined)
      ) {
        return true;
      }
      const key = `${method}|${qualifyMatchUrl(String(body.resourceType), condition)}`;
      const first = fullUrls.get(key);
      if (first === undefined) {
        fullUrls.set(key, fullUrl);
        return true;
      }
      if (fullUrl === '' || first === '') {
        const text =
          'Request contains multiple anonymous entries (Bundle.entry.fullUrl not populated) ' +
          `with conditional URL: "${condition}"`;
        throw new FhirError(
          400,
          `HAPI-2008: Unable to process Transaction - ${text}. ` +
            'Does transaction request contain duplicates?',
        );
      }
      replaceReferences(entries, fullUrl, first);
      return false;
    });
  }

  private writeEntry(entry: WriteEntry): void {
    switch (entry.method) {
      case 'DELETE':
        return entry.id === undefined ? this.deleteByUrl(entry) : this.deleteById(entry, entry.id);
      case 'POST':
        return this.create(entry);
      case 'PUT':
        return entry.id === undefined ? this.updateByUrl(entry) : this.updateById(entry, entry.id);
      case 'PATCH':
        throw notAvailableLocally('PATCH');
      default:
        throw new FhirError(
          400,
          `HAPI-0538: Unable to handle verb in transaction: ${entry.method}`,
        );
    }
  }

  private deleteById(entry: WriteEntry, id: string): void {
    const { type, response } = entry;
    response.status = statusText(204);
    const record = this.findExisting(type, id);
    if (!record) {
      response.outcome = nothingToDelete(type, id, '');
      return;
    }
    if (this.deleted.has(record)) {
      return;
    }
    response.outcome = isLiving(record) ? deleted() : alreadyDeleted(record);
    this.delete(record);
    entry.written = { record, versionId: latestVersionOf(record).versionId };
    this.lastEntryOf.set(record, entry);
  }

  private deleteByUrl({ type, query, response }: WriteEntry): void {
    const matchUrl = this.substitute(`${type}?${query}`);
    response.status = statusText(204);
    const record = this.repository.findForDelete(matchUrl);
    if (!record) {
      response.outcome = nothingToDelete(type, undefined, query);
      return;
    }
    response.outcome = deleted();
    this.delete(record);
  }

  private delete(record: ResourceRecord): void {
    this.deleted.add(record);
    if (isLiving(record)) {
      for (const { referrer, path } of this.repository.findReferrers(record)) {
        this.conflicts.push({ target: record, referrer, path });
      }
      this.repository.delete(record);
    }
  }

  private create(entry: WriteEntry): void {
    const body = requireBody(entry);
    const type = String(body.resourceType);
    const condition = this.substitute(entry.ifNoneExist);
    const matchUrl = condition.trim() === '' ? undefined : qualifyMatchUrl(type, condition);
    const match = matchUrl === undefined ? undefined : this.findForCreate(matchUrl);
    if (match && matchUrl !== undefined) {
      entry.response.status = statusText(200);
      entry.response.outcome = storageOutcome(
        'SUCCESSFUL_CREATE_WITH_CONDITIONAL_MATCH',
        `Existing resource matched URL: ${matchUrl}`,
      );
      this.finishEntry(entry, body, match, this.repository.rememberMatch(matchUrl, match));
      return;
    }
    const record = this.repository.reserve(body, undefined);
    this.planCreation(entry, { record, body, isUpdate: false, matchUrl });
  }

  /** From now on, the creation's match URL finds its resource in this transaction. */
  private planCreation(entry: WriteEntry, creation: Omit<PendingWrite, 'kind'>): void {
    const { record, body, matchUrl } = creation;
    this.plan({ ...creation, kind: 'create' }, 1);
    if (matchUrl !== undefined) {
      this.resolvedUrls.set(matchUrl, record);
      this.creatingUrls.add(matchUrl);
      this.urlsToVerify.set(matchUrl, record);
    }
    entry.response.status = statusText(201);
    this.finishEntry(entry, body, record, 1);
  }

  /** A match that this transaction has deleted is none. */
  private findForCreate(matchUrl: string): ResourceRecord | undefined {
    const match = onlyMatch(this.matchesOf(matchUrl), 'CREATE', matchUrl);
    return match && this.deleted.has(match) ? undefined : match;
  }

  private matchesOf(matchUrl: string): ResourceRecord[] {
    if (this.resolvedUrls.has(matchUrl)) {
      return [this.resolvedUrls.get(matchUrl)].filter((record) => record !== undefined);
    }
    return this.repository.findMatches(matchUrl);
  }

  private updateById(entry: WriteEntry, id: string): void {
    const body = requireBody(entry);
    const { type } = entry;
    if (type !== body.resourceType) {
      const text =
        `Can not process entity with ID[${type}/${id}], this is not the correct resource type ` +
        'for this resource';
      throw new FhirError(400, `HAPI-2616: ${text}`);
    }
    const target = `${type}/${id}`;
    const record = this.known.has(target) ? this.known.get(target) : this.findExisting(type, id);
    if (!record) {
      this.createFromUpdate(entry, body, id, undefined);
      return;
    }
    assertVersion(record, versionOfETag(entry.ifMatch));
    this.updateRecord(entry, body, record, undefined);
  }

  private updateByUrl(entry: WriteEntry): void {
    const body = requireBody(entry);
    const { type, query } = entry;
    const matchUrl = this.substitute(query === '' ? `${type}?${type}` : `${type}?${query}`);
    const match = onlyMatch(this.matchesOf(matchUrl), 'UPDATE', matchUrl);
    const id = bodyIdOf(entry, body);
    if (!match) {
      this.createFromUpdate(entry, body, id, matchUrl);
      return;
    }
    if (id !== undefined && id !== match.id && !this.known.get(`${type}/${id}`)) {
      throw new FhirError(
        400,
        `HAPI-2279: Failed to UPDATE resource with match URL "${matchUrl}" because the ` +
          'matching resource does not match the provided ID',
      );
    }
    this.resolvedUrls.set(matchUrl, match);
    this.urlsToVerify.set(matchUrl, match);
    this.updateRecord(entry, body, match, matchUrl);
  }

  private createFromUpdate(
    entry: WriteEntry,
    body: JsonObject,
    id: string | undefined,
    matchUrl: string | undefined,
  ): void {
    const record = this.repository.reserve(body, id);
    this.planCreation(entry, { record, body, isUpdate: true, matchUrl });
  }

  /**
   * The response says the version that the update would make, also where it turns out to change
   * nothing.
   */
  private updateRecord(
    entry: WriteEntry,
    body: JsonObject,
    record: ResourceRecord,
    matchUrl: string | undefined,
  ): void {
    const isCreatedHere = record.versions.length === 0;
    const wasDeleted = !isCreatedHere && !isLiving(record);
    const versionId = isCreatedHere ? 2 : nextVersionId(record);
    if (wasDeleted && matchUrl !== undefined) {
      this.creatingUrls.add(matchUrl);
    }
    this.plan({ record, body, kind: 'update', isUpdate: true, matchUrl }, versionId);
    entry.response.status = statusText(wasDeleted ? 201 : 200);
    this.finishEntry(entry, body, record, versionId);
  }

  private plan(write: PendingWrite, versionId: number): void {
    const { record } = write;
    this.pending.set(`${record.type}/${record.id}/_history/${versionId}`, write);
  }

  private finishEntry(
    entry: WriteEntry,
    body: JsonObject,
    record: ResourceRecord,
    versionId: number,
  ): void {
    const address = `${record.type}/${record.id}`;
    this.known.set(address, record);
    const placeholder = entry.fullUrl.startsWith('urn:') ? entry.fullUrl : undefined;
    const id = bodyIdOf(entry, body);
    if (placeholder !== undefined) {
      this.substitutions.set(placeholder, address);
      this.substitutions.set(`${record.type}/${placeholder}`, address);
    } else if (id !== undefined && `${record.type}/${id}` !== address) {
      this.substitutions.set(`${record.type}/${id}`, address);
    }
    entry.written = { record, versionId };
    this.lastEntryOf.set(record, entry);
  }

  /** @returns a conditional URL with placeholders replaced by what they became */
  private substitute(matchUrl: string): string {
    let result = matchUrl;
    for (const [placeholder, address] of this.substitutions) {
      if (placeholder.startsWith('urn:')) {
        result = result
          .replaceAll(placeholder, address)
          .replaceAll(encodeURIComponent(placeholder), address);
      }
    }
    return result;
  }

  /** @throws FhirError 409 where a resource that stays refers to a deleted one */
  private assertNoDeleteConflicts(): void {
    for (const { target, referrer, path } of this.conflicts) {
      const updates = [...this.pending.values()].filter(({ record }) => record === referrer);
      const address = `${target.type}/${target.id}`;
      const stillRefers =
        updates.length === 0 || updates.some(({ body }) => refersTo(body, address));
      if (!this.deleted.has(referrer) && stillRefers) {
        throw deleteConflict(target, referrer, path);
      }
    }
  }

  /** Replaces the references between entries, and stores the resource. */
  private finish({ record, body, kind, isUpdate, matchUrl }: PendingWrite): void {
    for (const { element, path } of referenceElementsOf(body)) {
      const address = this.substitutions.get(element.reference.replace(/\/_history\/.*$/, ''));
      if (address !== undefined) {
        element.reference = address;
      } else if (element.reference.startsWith('urn:')) {
        throw new FhirError(
          400,
          `HAPI-0541: Unable to satisfy placeholder ID ${element.reference} found in element ` +
            `named '${path}' within resource of type: ${record.type}`,
        );
      }
    }
    replaceUris(body, this.substitutions);
    const options: WriteOptions = {
      snapshotMode: header(this.request, 'x-meta-snapshot-mode'),
      matchUrl,
      isUpdate,
      known: this.known,
      resolvedUrls: this.resolvedUrls,
      inBundle: true,
    };
    const { outcome, resource } =
      kind === 'create'
        ? this.repository.fill(record, body, options)
        : this.repository.update(record, body, options);
    this.report(record, outcome, resource);
  }

  private report(
    record: ResourceRecord,
    outcome: OperationOutcome,
    resource: WithId<Resource>,
  ): void {
    const entry = this.lastEntryOf.get(record);
    if (!entry) {
      return;
    }
    entry.response.outcome = outcome;
    entry.response.lastModified = resource.meta?.lastUpdated ?? '';
    entry.written = { record, versionId: latestVersionOf(record).versionId };
  }

  /**
   * @throws FhirError 400 HAPI-0542 where a conditional create would find two resources afterwards
   */
  private assertNoDuplicates(): void {
    for (const matchUrl of this.creatingUrls) {
      const { type } = parseMatchUrl(matchUrl);
      // A resource that is created and updated here counts twice.
      const matches = [...this.pending.values()].filter(({ record, body }) => {
        return (
          record.type === type &&
          isLiving(record) &&
          satisfies(body as unknown as Resource, matchUrl)
        );
      });
      if (matches.length > 1) {
        throw new FhirError(
          400,
          'HAPI-0542: Unable to process Transaction - Request would cause multiple resources ' +
            `to match URL: "${matchUrl}". Does transaction request contain duplicates?`,
        );
      }
    }
  }

  /** @throws FhirError 412 HAPI-0539 for a resource that its own conditional URL does not find */
  private assertUrlsStillMatch(): void {
    for (const [matchUrl, record] of this.urlsToVerify) {
      const isWritten = [...this.pending.values()].some((write) => write.record === record);
      const resource = isWritten ? livingResourceOf(record) : undefined;
      if (resource && !satisfies(resource, matchUrl)) {
        throw new FhirError(
          412,
          `HAPI-0539: Invalid conditional URL "${matchUrl}". ` +
            'The given resource is not matched by this URL.',
        );
      }
    }
  }
}

function readEntry(
  { fullUrl = '', resource, request = {} }: BundleRequestEntry,
  index: number,
): WriteEntry {
  const { method = '', url = '', ifMatch = '', ifNoneExist = '' } = request;
  const [path = '', query = ''] = url.split(/\?(.*)/s);
  const [type = '', id] = path.replace(/^\//, '').split('/');
  return {
    index,
    method,
    type,
    id: id || undefined,
    query,
    fullUrl,
    ifMatch,
    ifNoneExist,
    body: resource,
    response: {},
  };
}

/** DELETE, POST, PUT; of the same method those without a conditional URL first. */
function sortEntries(entries: WriteEntry[]): WriteEntry[] {
  const hasCondition = ({ method, id, ifNoneExist }: WriteEntry): boolean => {
    return method === 'POST' ? ifNoneExist !== '' : id === undefined;
  };
  return entries.toSorted((first, second) => {
    const byMethod = ORDER.indexOf(first.method) - ORDER.indexOf(second.method);
    return byMethod || Number(hasCondition(first)) - Number(hasCondition(second));
  });
}

function assertUrl({ method, type, id, query, body }: WriteEntry): void {
  if (type === '' && method === 'POST') {
    return;
  }
  if (type === '' && id === undefined && query === '') {
    throw new FhirError(
      400,
      body
        ? 'HAPI-1101: Parameter value missing in request'
        : `HAPI-0545: Bundle entry is missing a URL for ${method}`,
    );
  }
  if (!isResourceType(type)) {
    throw new FhirError(
      400,
      `HAPI-2006: Unable to perform ${method}, URL provided is invalid: ${type}/${id ?? ''}`,
    );
  }
}

/** @throws FhirError 400 HAPI-0534 or HAPI-0535 for two entries with the same id */
function assertDistinctId(entry: WriteEntry, ids: Set<string>): void {
  const { body, method, fullUrl } = entry;
  if (!body) {
    return;
  }
  const isPlaceholder = fullUrl.startsWith('urn:');
  const id = isPlaceholder ? fullUrl : bodyIdOf(entry, body);
  if (id === undefined || (!isPlaceholder && method === 'POST')) {
    return;
  }
  const key = isPlaceholder ? id : `${String(body.resourceType)}/${id}`;
  if (ids.has(key)) {
    const number = isPlaceholder ? '0534' : '0535';
    throw new FhirError(
      400,
      `HAPI-${number}: Transaction bundle contains multiple resources with ID: ${key}`,
    );
  }
  ids.add(key);
}

/** A fullUrl counts more than the id in the resource; a placeholder is not an id. */
function bodyIdOf({ fullUrl }: WriteEntry, body: JsonObject): string | undefined {
  if (fullUrl !== '') {
    return fullUrl.startsWith('urn:') ? undefined : parseReference(fullUrl).id;
  }
  const { id } = body;
  return typeof id === 'string' && !id.startsWith('urn:') && !id.startsWith('#') ? id : undefined;
}

function requireBody({ body, index, method }: WriteEntry): JsonObject {
  if (!body) {
    throw new FhirError(
      400,
      `HAPI-0543: Missing required resource in Bundle.entry[${index}].resource for operation ` +
        method,
    );
  }
  return body;
}

function replaceReferences(entries: WriteEntry[], from: string, to: string): void {
  for (const { body } of entries) {
    for (const { element } of body ? referenceElementsOf(body) : []) {
      if (element.reference === from) {
        element.reference = to;
      }
    }
  }
}

function refersTo(body: JsonObject, target: string): boolean {
  return referenceElementsOf(body).some(({ element }) => {
    const { type, id } = parseReference(element.reference);
    return `${type}/${id}` === target;
  });
}

function describe({ response, written }: WriteEntry): BundleResponseEntry['response'] {
  if (!written) {
    return response;
  }
  const { record, versionId } = written;
  const location = `${record.type}/${record.id}/_history/${versionId}`;
  return { ...response, location, etag: String(versionId) };
}
