// The entries of batches and transactions, as they are sent and as they are answered.
import type { OperationOutcome } from '@medplum/fhirtypes';
import { STATUS_CODES } from 'node:http';
import type { JsonObject } from './resource-parser.ts';

/** An entry of the Bundle that was sent. */
export interface BundleRequestEntry {
  fullUrl?: string;
  resource?: JsonObject;
  request?: {
    method?: string;
    url?: string;
    ifMatch?: string;
    ifNoneExist?: string;
    ifNoneMatch?: string;
  };
}

/** An entry of the Bundle that is returned. */
export interface BundleResponseEntry {
  resource?: object;
  response: {
    status?: string;
    location?: string;
    etag?: string;
    lastModified?: string;
    outcome?: OperationOutcome;
  };
}

/** @returns for example `404 Not Found` */
export function statusText(status: number): string {
  return `${status} ${STATUS_CODES[status] ?? ''}`.trim();
}
