// `npm run analyze`: what is in each bundle, which shared code no bot uses, and what a change does
// to the bundles.
import { Command } from 'commander';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  analysisMarkdown,
  analysisTable,
  differencesTable,
  unusedList,
} from '../bundling/analysis-report.ts';
import { analyze, findExport } from '../bundling/analysis.ts';
import type { Analysis } from '../bundling/analysis.ts';
import { differences, manifestAt } from '../bundling/differences.ts';
import { reportLines } from '../bundling/report.ts';

const REPORT = 'dist/report.md';

interface AnalyzeOptions {
  against?: string;
  find?: string;
  json?: boolean;
}

/** The same result for programs and for people. */
interface Output {
  data: unknown;
  text: string;
}

export const command = new Command('analyze')
  .description('Show what is in each bundle, and which bots a change of shared code reaches')
  .option('--against <commit>', 'compare with a branch, tag or commit')
  .option('--find <export>', 'which bundles carry this export of src/shared')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nExample: npm run analyze -- --against main\n' +
      'Exit codes: 0 all bots are shown, 1 there is an error; bots with an error are left out.',
  )
  .action(printAnalysis);

async function printAnalysis(options: AnalyzeOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'analyze-'));
  try {
    const analysis = await analyze(folder);
    const { data, text } = outputFor(options, analysis, folder);
    for (const line of reportLines(analysis.errors, false)) {
      console.error(line);
    }
    console.log(options.json ? JSON.stringify(data, null, 2) : text);
    if (analysis.errors.length > 0) {
      process.exitCode = 1;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function outputFor(options: AnalyzeOptions, analysis: Analysis, folder: string): Output {
  const { bots, unused, manifest } = analysis;
  if (options.find !== undefined) {
    const found = findExport(options.find, bots);
    const lines = found.map((item) => `${item.export}: ${item.bots.join(', ') || 'in no bundle'}`);
    return { data: found, text: lines.join('\n') };
  }
  if (options.against !== undefined) {
    const found = differences(manifestAt(options.against, folder), manifest);
    const text = differencesTable(options.against, found) + unusedList(unused);
    return { data: { differences: found, unused }, text };
  }
  mkdirSync('dist', { recursive: true });
  writeFileSync(REPORT, analysisMarkdown(bots, unused));
  const text = `${analysisTable(bots, unused)}\n\nThe same with a drawing: ${REPORT}`;
  return { data: { bots, unused }, text };
}
