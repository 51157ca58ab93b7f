// Which Medplum version the local server behaves like.

export const DEFAULT_VERSION = '5.1.26';
const NEWER_VERSION = '5.1.29';
export const SERVER_VERSIONS = [DEFAULT_VERSION, NEWER_VERSION] as const;

export class ServerVersion {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** @param version - three numbers, such as `5.1.28` */
  atLeast(version: string): boolean {
    const own = numbers(this.name);
    const other = numbers(version);
    for (const [index, number] of own.entries()) {
      if (number !== other[index]) {
        return number > other[index]!;
      }
    }
    return true;
  }
}

function numbers(version: string): number[] {
  return version.split('.').map(Number);
}
