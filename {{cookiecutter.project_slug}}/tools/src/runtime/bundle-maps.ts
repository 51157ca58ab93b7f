// The source maps of the code that ran. No server gets maps: they are found in dist/, by the code.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Maps that are kept; older ones are forgotten. */
const MAPS_KEPT = 50;

/** Remembers maps for longer than dist/ holds them: a run may end after the next build. */
export class BundleMaps {
  readonly #maps = new Map<string, string>();

  /** Keeps the map of code that is about to run, if dist/ holds it. */
  remember(botName: string, code: string | undefined): void {
    if (code === undefined || this.#maps.has(hash(code))) {
      return;
    }
    const file = join('dist', 'bots', `${botName}.js`);
    try {
      if (readFileSync(file, 'utf8') === code) {
        this.#maps.set(hash(code), readFileSync(`${file}.map`, 'utf8'));
      }
    } catch {
      return; // not built in this repository
    }
    if (this.#maps.size > MAPS_KEPT) {
      const [oldest = ''] = this.#maps.keys();
      this.#maps.delete(oldest);
    }
  }

  /** @returns the text of the map, if it is known */
  find(code: string | undefined): string | undefined {
    return code === undefined ? undefined : this.#maps.get(hash(code));
  }
}

function hash(code: string): string {
  return createHash('sha256').update(code).digest('hex');
}
