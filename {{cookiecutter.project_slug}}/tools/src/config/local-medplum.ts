// How a deployment recognises the local Medplum, and a header that only this one knows.
import type { Environment } from './environment.ts';

/** The local Medplum has one project, with the same id at each start. */
export const LOCAL_PROJECT_ID = 'a0a0a0a0-0000-4000-8000-000000000001';

/**
 * With this header, the local Medplum creates a Bot with the id that the header gives. A real
 * Medplum ignores the header and chooses the id itself.
 */
export const NEW_BOT_ID_HEADER = 'X-Local-Bot-Id';

/** Whether a deployment goes to the local Medplum, and not to a real one. */
export function isLocalMedplum({ projectId }: Pick<Environment, 'projectId'>): boolean {
  return projectId === LOCAL_PROJECT_ID;
}
