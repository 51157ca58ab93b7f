// Finds the team's own code behind a run: source maps are kept for the code that ran, also after a
// newer build.
import { BundleMaps } from '../runtime/bundle-maps.ts';
import { replacePlaces, sourceLines } from '../runtime/source-maps.ts';
import type { SourceExcerpt } from './api-types.ts';

/** Lines shown before and after the line of an error. */
const LINES_AROUND = 3;
const BOT_PLACE = /\bsrc\/bots\/[^\s():]+:\d+:\d+/;
const SOURCE_PLACE = /\b((?:src|scripts|tests)\/[^\s():]+):(\d+):(\d+)/;

export class RunSources {
  private readonly maps = new BundleMaps();

  /** Keeps the source map of code that is about to run, if `dist/` holds it. */
  remember(botName: string, code: string | undefined): void {
    this.maps.remember(botName, code);
  }

  /**
   * @returns the text with places in the sources instead of places in the bundle, where they are
   *   known
   */
  readable(text: string, code: string | undefined): string {
    const find = this.maps.finder(code);
    return find ? replacePlaces(text, find) : text;
  }

  /**
   * @param stack - a readable stack
   * @returns the lines around the first place in the team's own code, as they were when the code
   *   was built
   */
  excerpt(stack: string, code: string | undefined): SourceExcerpt | undefined {
    const map = this.sourceMap(code);
    const place = SOURCE_PLACE.exec(stack);
    if (map === undefined || place === null) {
      return undefined;
    }
    const [, file = '', lineText = '', columnText = ''] = place;
    const source = sourceLines(map, file);
    if (source === undefined) {
      return undefined;
    }
    const line = Number(lineText);
    const first = Math.max(1, line - LINES_AROUND);
    const lines = source
      .slice(first - 1, line + LINES_AROUND)
      .map((text, index) => ({ number: first + index, text }));
    return { file, line, column: Number(columnText), lines };
  }

  /** @returns the text of the source map, if it is known */
  sourceMap(code: string | undefined): string | undefined {
    return this.maps.find(code);
  }
}

/**
 * @param stack - a readable stack
 * @returns the first place in a bot, such as `src/bots/my-bot.ts:12:9`, or else the first one in
 *   the team's own code
 */
export function placeIn(stack: string): string | undefined {
  return BOT_PLACE.exec(stack)?.[0] ?? SOURCE_PLACE.exec(stack)?.[0];
}
