// The source maps of the code that ran. No server gets maps: they are found in dist/, by the code.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sourceFinder } from './source-maps.ts';
import type { SourceFinder } from './source-maps.ts';

/** Maps that are kept; older ones are forgotten. */
const MAPS_KEPT = 50;

interface KnownMap {
  text: string;
  /** Made when it is first asked for: reading a map takes some milliseconds. */
  finder?: SourceFinder;
}

/** Remembers maps for longer than dist/ holds them: a run may end after the next build. */
export class BundleMaps {
  /** By the code that ran. */
  readonly #maps = new Map<string, KnownMap>();

  /** Keeps the map of code that is about to run, if dist/ holds it. */
  remember(botName: string, code: string | undefined): void {
    if (code === undefined || this.#maps.has(code)) {
      return;
    }
    const file = join('dist', 'bots', `${botName}.js`);
    try {
      if (readFileSync(file, 'utf8') === code) {
        this.#maps.set(code, { text: readFileSync(`${file}.map`, 'utf8') });
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
    return this.#known(code)?.text;
  }

  /** @returns finds the sources of places in the code, if its map is known */
  finder(code: string | undefined): SourceFinder | undefined {
    const known = this.#known(code);
    if (known) {
      known.finder ??= sourceFinder(known.text);
    }
    return known?.finder;
  }

  #known(code: string | undefined): KnownMap | undefined {
    return code === undefined ? undefined : this.#maps.get(code);
  }
}
