// Loads the local FHIR server (tools/src/fhir-server), if this repository has it: it comes with the
// sync examples only.
import type { Resource } from '@medplum/fhirtypes';
import { existsSync } from 'node:fs';

const MODULE = new URL('./fhir-server/server.ts', import.meta.url);

/** A fault the server is asked to have, such as an error 503 for the next two requests. */
export interface ExternalFault {
  kind: string;
}

export interface ExternalServer {
  /** Without a slash at the end. */
  baseUrl: string;
  /** What the server holds; a version is deleted where it is a tombstone. */
  store: { all(resourceType: string): Iterable<{ resource: Resource; deleted: boolean }> };
  faults: {
    add(...faults: ExternalFault[]): void;
    clear(): void;
    list(): readonly ExternalFault[];
  };
  stop(): Promise<void>;
}

interface ExternalServerModule {
  /** All kinds of faults. */
  KINDS: readonly string[];
  /** @throws Error that says in one line what is wrong */
  parseFault(given: unknown): ExternalFault;
  startFhirServer(options: { port: number }): Promise<ExternalServer>;
}

/** Whether this repository has a local FHIR server. */
export function hasFhirServer(): boolean {
  return existsSync(MODULE);
}

/** Loads the local FHIR server; ask `hasFhirServer` first. */
export async function loadFhirServer(): Promise<ExternalServerModule> {
  return (await import(MODULE.href)) as ExternalServerModule;
}
