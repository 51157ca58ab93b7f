// A client of the local Medplum's FHIR API inside its own process, with the rights of the project's
// administrator.
import { isOperationOutcome, operationOutcomeToString } from '@medplum/core';
import type { Hono } from 'hono';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { findMembership } from '../medplum/access.ts';
import { issueToken } from '../medplum/tokens.ts';
import { LOCAL } from '../medplum/local-project.ts';
import type { MedplumServer } from '../medplum/server.ts';
import { PageError } from './page-error.ts';

export interface FhirClient {
  /**
   * Sends one request.
   *
   * @param path - below `/fhir/R4/`, with the query
   * @returns the body of the answer
   * @throws PageError with the server's reason where the status is 400 or more
   */
  send<T>(method: string, path: string, body?: unknown): Promise<T>;
}

export function createFhirClient(app: Hono, server: MedplumServer): FhirClient {
  const { baseUrl, repository } = server;
  return {
    send: async <T>(method: string, path: string, body?: unknown): Promise<T> => {
      const profile = `ClientApplication/${LOCAL.clientId}`;
      const membership = findMembership(repository.state.store, profile);
      if (!membership) {
        throw new PageError(409, 'The local project has lost the membership of its own client.');
      }
      const headers: Record<string, string> = {
        Host: new URL(baseUrl).host,
        Authorization: `Bearer ${issueToken(membership, baseUrl)}`,
        'Content-Type': 'application/fhir+json',
        'X-Medplum': 'extended',
      };
      const response = await app.request(`${baseUrl}fhir/R4/${path}`, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      const answer = parse(text);
      if (response.status >= 400) {
        const reason = isOperationOutcome(answer) ? operationOutcomeToString(answer) : text;
        throw new PageError(response.status as ContentfulStatusCode, reason);
      }
      return answer as T;
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
