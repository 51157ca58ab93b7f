// What a terminal shows of a run that failed.
import { dim, printable, red } from '../terminal/output.ts';
import type { FailureExplanation } from '../runtime/explain-failure.ts';

/**
 * @param explanation - of the failure
 * @returns lines: what happened, where, and what to change
 */
export function failureLines(explanation: FailureExplanation): string[] {
  const { summary, place, sourceLine, hint } = explanation;
  const lines = summary.split('\n').map((line) => red(printable(line)));
  if (place) {
    lines.push(`at ${place.file}:${place.line}:${place.column}`);
  }
  if (place && sourceLine) {
    lines.push(`${dim(`  ${place.line} |`)} ${sourceLine}`);
  }
  if (hint) {
    lines.push(`To fix it: ${hint}`);
  }
  return lines;
}
