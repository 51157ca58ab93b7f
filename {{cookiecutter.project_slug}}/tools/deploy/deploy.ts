// One deployment from start to end: desired (medplum.config.json + dist/) x actual (server) -> plan -> apply -> verify.
import { UserError } from '../cli.ts';

export interface DeployOptions {
  /** The repository's folder; the current one if left out. */
  root?: string;
  /** Whose `.env.<environment>` is read, and part of every bot's identifier; `local` if left out. */
  environment?: string;
  /** Only bots whose name matches, `*` for any characters. */
  only?: string;
  /** Remove from the server what the configuration no longer has. */
  prune?: boolean;
  /** Deploy the code also where it is unchanged. */
  force?: boolean;
  /** Do not ask before writing. */
  yes?: boolean;
  /** Bots deployed at the same time; 8 if left out. */
  concurrency?: number;
  /** Gets each line of the plan and of the progress. */
  log?: (line: string) => void;
}

export interface DeployResult {
  /** Names of the bots that were written. */
  changed: string[];
  /** Names of the bots on which nothing was to be done. */
  unchanged: string[];
  /** What did not work, one entry a bot; the others were deployed nevertheless. */
  failed: { name: string; message: string }[];
}

/**
 * Brings the server to what medplum.config.json and dist/ say.
 *
 * @param options - see DeployOptions
 * @returns what was done; `failed` is empty where all went well
 * @throws UserError where nothing could be begun: credentials, project, a missing bundle or secret, an unconfirmed write
 */
export async function deploy(options: DeployOptions): Promise<DeployResult> {
  throw new UserError(`The deployment to ${options.environment ?? 'local'} is not written yet.`);
}
