// Which exports of src/shared a bundle carries. Not in shared-exports.ts, which each build
// loads: this file needs the runtimes.
import { sourceFinder } from '../runtime/source-maps.ts';
import type { SharedExport } from './shared-exports.ts';

/**
 * Which exports are in a bundle, read from its source map: tree shaking leaves no line of the
 * others.
 *
 * @param code - the bundle, not minified
 * @param map - its source map
 * @param folder - where the bundle is
 * @param exports - to look for
 */
export function carriedExports(
  code: string,
  map: string,
  folder: string,
  exports: readonly SharedExport[],
): SharedExport[] {
  const findSource = sourceFinder(map, folder);
  const carried = new Set<string>();
  code.split('\n').forEach((text, index) => {
    const place = findSource(index + 1, text.search(/\S|$/) + 1);
    if (place) {
      carried.add(`${place.file}:${place.line}`);
    }
  });
  return exports.filter(({ file, first, last }) => {
    for (let line = first; line <= last; line++) {
      if (carried.has(`${file}:${line}`)) {
        return true;
      }
    }
    return false;
  });
}
