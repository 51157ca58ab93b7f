// The one kind of error of the sync. Its code says what went wrong; every decision about retries is
// based on it.
import type { RequestFailure } from '../http-request.ts';

/** What went wrong. */
export type SyncErrorCode =
  /**
   * Another client wrote first (409, 412), or the source changed while it was written: start over.
   */
  | 'conflict'
  /** A server did not answer, or is busy or broken (429, 5xx): a short retry may help. */
  | 'unavailable'
  /** A server accepted the connection, but did not answer in time. */
  | 'timeout'
  /** Medplum's quota is spent; `waitMs` says for how long. */
  | 'throttled'
  /** A server refuses the credentials (401), or what they may do (403). */
  | 'denied'
  /** The target does not take this resource (400, 404, 413, 422 …). */
  | 'refused'
  /** Other resources on the target refer to the one that should be deleted. */
  | 'blocked'
  /**
   * The answer is not what was asked for, or proves nothing: a login page, another resource, a 202.
   */
  | 'untrusted'
  /** The target lacks something that the sync needs, such as versions. */
  | 'unsupported'
  /** The resource on the target does not carry the mark of this sync, so it is not deleted. */
  | 'not-ours'
  /**
   * Medplum answers 404: the resource is unknown, or this bot may not read it. Nothing is deleted
   * because of it.
   */
  | 'not-found'
  /** Medplum answers 410: the resource was deleted. `readSource` returns undefined instead. */
  | 'gone'
  /** The call is wrong: a type that is not configured, or an id that is not a FHIR id. */
  | 'invalid';

/**
 * An error of the sync. Its message holds type, id, verb, status and codes, and nothing about a
 * patient.
 */
export class SyncError extends Error {
  readonly code: SyncErrorCode;
  /** The failed request to the target, if there was one. */
  override readonly cause: RequestFailure | undefined;
  /** How long to wait before the next try, in milliseconds, if the server said so. */
  readonly waitMs: number | undefined;

  constructor(
    code: SyncErrorCode,
    message: string,
    details: { cause?: RequestFailure; waitMs?: number | undefined } = {},
  ) {
    super(message);
    this.name = 'SyncError';
    this.code = code;
    this.cause = details.cause;
    this.waitMs = details.waitMs;
  }
}

/**
 * Reads the code of an error.
 *
 * @param error - Anything thrown.
 * @returns Its code if it is a SyncError; undefined for any other error, such as a TypeError.
 */
export function codeOfError(error: unknown): SyncErrorCode | undefined {
  return error instanceof SyncError ? error.code : undefined;
}
