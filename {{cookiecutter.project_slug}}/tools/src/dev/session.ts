// What `npm run dev` does when a file is saved: bundle, deploy what changed, then check the code.
import type { Project } from '@medplum/fhirtypes';
import { existsSync } from 'node:fs';
import { BuildError } from '../bundling/bundle-bots.ts';
import { describe } from '../bundling/finding.ts';
import type { Finding } from '../bundling/finding.ts';
import { lint } from '../bundling/lint.ts';
import { loadConfig } from '../config/config.ts';
import type { BotConfig } from '../config/config.ts';
import type { Change } from '../deploy/change.ts';
import { deploy } from '../deploy/deploy.ts';
import { describeChange } from '../deploy/describe-plan.ts';
import { LOCAL_SECRETS_FILE, localTarget, readLocalSecrets } from '../local-servers.ts';
import type { LocalServers } from '../local-servers.ts';
import { LOCAL } from '../medplum/local-project.ts';
import { bold, dim, green, red, yellow } from '../terminal/output.ts';
import { withSourceLine } from './source-line.ts';

/** What comes of bundling all bots. */
type Build = Promise<{ findings: Finding[] }>;

/** Begins to bundle all bots; esbuild does it in a process of its own. */
export async function startBuild(): Promise<{ build: Build }> {
  const { bundle } = (await import('../../../esbuild-script.mjs')) as { bundle(): Build };
  const build = bundle();
  build.catch(() => undefined); // the session looks at it later
  return { build };
}

export class DevSession {
  readonly #servers: LocalServers;
  /** The first build, until it is used. */
  #firstBuild: Build | undefined;
  /** Findings that were shown, so that a warning is not repeated at each save. */
  #shown = new Set<string>();
  /** The bots that wait for a secret, with the names of the secrets, as it was shown last. */
  #waiting = '';
  #work: Promise<void> = Promise.resolve();

  /**
   * @param servers - to deploy to
   * @param firstBuild - see startBuild
   */
  constructor(servers: LocalServers, firstBuild: Build) {
    this.#servers = servers;
    this.#firstBuild = firstBuild;
    // `npm run secrets -- push` in another terminal.
    servers.medplum.events.on('change', ({ resource }) => {
      if (resource.resourceType === 'Project' && this.#waiting !== '') {
        void this.update([]);
      }
    });
  }

  /**
   * Brings the local Medplum to what the sources say; updates wait for each other.
   *
   * @param paths - files that changed
   */
  update(paths: readonly string[]): Promise<void> {
    this.#work = this.#work.then(async () => {
      if (paths.includes(LOCAL_SECRETS_FILE)) {
        await this.#setSecrets(readLocalSecrets());
      }
      await this.#deploy();
    });
    void this.#work.then(() => this.#check(paths));
    return this.#work;
  }

  async #deploy(): Promise<void> {
    const start = performance.now();
    try {
      const { bots } = loadConfig(undefined, 'local');
      const failed = await this.#bundle();
      const missing = this.#missingSecrets(bots);
      this.#showMissingSecrets(missing);
      const result = await deploy({
        target: localTarget(this.#servers),
        yes: true,
        prune: true,
        without: [...failed, ...missing.keys()],
        log: () => undefined,
      });
      const time = dim(`${Math.round(performance.now() - start)} ms`);
      const done = result.changes.filter(({ name }) => result.changed.includes(name));
      for (const change of done) {
        console.log(`${describeResult(change)} ${time}`);
      }
      for (const { name, message } of result.failed) {
        console.error(`${red('failed')} ${bold(name)} ${message}`);
      }
      if (done.length + result.failed.length + failed.length === 0) {
        console.log(dim(`no bundle changed ${time}`));
      }
    } catch (error) {
      console.error(red((error as Error).message));
      console.error(yellow('The last good version keeps running.'));
    }
  }

  /** @returns the names of the bots that could not be built; what is wrong with them was printed */
  async #bundle(): Promise<string[]> {
    const build = this.#firstBuild ?? (await startBuild()).build;
    this.#firstBuild = undefined;
    try {
      const { findings } = await build;
      this.#showWarnings(findings);
      return [];
    } catch (error) {
      if (!(error instanceof BuildError)) {
        throw error;
      }
      this.#showWarnings(error.findings.filter(({ severity }) => severity === 'warning'));
      for (const finding of error.findings.filter(({ severity }) => severity === 'error')) {
        console.error(withSourceLine(finding));
      }
      const names = Object.keys(error.built.failed);
      console.error(yellow(`The last good version of ${names.join(', ')} keeps running.`));
      return names;
    }
  }

  /**
   * The linter and the type checker need longer than a deployment, which does not wait for them.
   */
  async #check(paths: readonly string[]): Promise<void> {
    const files = paths.filter((path) => /\.[cm]?tsx?$/.test(path) && existsSync(path));
    if (files.length === 0) {
      return;
    }
    const findings = await lint(files);
    this.#shown = new Set(
      [...this.#shown].filter((text) => !files.some((file) => text.startsWith(file))),
    );
    for (const finding of findings.filter(({ severity }) => severity === 'error')) {
      console.error(withSourceLine(finding));
    }
    this.#showWarnings(findings.filter(({ severity }) => severity === 'warning'));
  }

  #showWarnings(findings: readonly Finding[]): void {
    for (const finding of findings) {
      const text = describe(finding);
      if (!this.#shown.has(text)) {
        this.#shown.add(text);
        console.error(`${yellow('Warning:')} ${text}`);
      }
    }
  }

  async #setSecrets(secrets: Record<string, string>): Promise<void> {
    const project = this.#project();
    const others = (project.secret ?? []).filter(({ name }) => !(name in secrets));
    const given = Object.entries(secrets).map(([name, valueString]) => ({ name, valueString }));
    await this.#servers.medplum.repository.updateResource<Project>({
      ...project,
      secret: [...others, ...given],
    });
  }

  /** @returns by bot, the secrets that the project does not have */
  #missingSecrets(bots: readonly BotConfig[]): Map<string, string[]> {
    const known = new Set(this.#project().secret?.map(({ name }) => name));
    const missing = bots.map(({ name, secrets }) => {
      const required = secrets.filter(({ optional }) => !optional);
      return [
        name,
        required.map((secret) => secret.name).filter((secret) => !known.has(secret)),
      ] as const;
    });
    return new Map(missing.filter(([, secrets]) => secrets.length > 0));
  }

  #showMissingSecrets(missing: ReadonlyMap<string, string[]>): void {
    const lines = [...missing].map(([bot, secrets]) => {
      const values = secrets.map((secret) => `${secret}=<value>`).join(' and ');
      return (
        `${yellow('waiting')} ${bold(bot)} needs the secret ${secrets.join(', ')}: ` +
        `write ${values} into ${LOCAL_SECRETS_FILE}`
      );
    });
    if (lines.join('\n') !== this.#waiting) {
      this.#waiting = lines.join('\n');
      lines.forEach((line) => console.log(line));
    }
  }

  #project(): Project {
    const { store } = this.#servers.medplum.repository.state;
    return store.latest('Project', LOCAL.projectId)!.resource as Project;
  }
}

function describeResult(change: Change): string {
  return change.action === 'remove'
    ? `${yellow('removed')} ${bold(change.name)} is no longer in medplum.config.json`
    : `${green('deployed')} ${bold(change.name)} ${describeChange(change, 'local')}`;
}
