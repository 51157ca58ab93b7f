// medplum.createPdf: on awslambda with pdfmake of the bot layer, on vmcontext not at all. A package
// of the same name and interface stands in for pdfmake, so that the test needs no network.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { runBot } from '../../tools/src/runtime/bot-run.ts';
import type { BotRunResult } from '../../tools/src/runtime/bot-run.ts';
import type { BotRuntime } from '../../tools/src/runtime/sandbox-types.ts';

/** The interface of pdfmake 0.2 that Medplum uses. Its "PDF" is what it was given, as JSON. */
const PDFMAKE = `
const { EventEmitter } = require('node:events');
module.exports = class PdfPrinter {
  constructor(fonts) { this.fonts = fonts; }
  createPdfKitDocument(definition, options) {
    if (definition.broken) { throw new Error('Unrecognized document structure'); }
    const document = new EventEmitter();
    document.end = () => {
      const text = JSON.stringify({ definition, options, fonts: Object.keys(this.fonts) });
      document.emit('data', Buffer.from('%PDF '));
      document.emit('data', Buffer.from(text));
      document.emit('end');
    };
    return document;
  }
};`;
const FONTS = `module.exports = { pdfMake: { vfs: { 'Roboto-Regular.ttf': 'AAAA' } } };`;

/** Returns what medplum.createPdf sends to the server. */
const CODE = `exports.handler = async (medplum, event) => {
  let sent;
  medplum.createBinary = async ({ data, contentType, filename }) => {
    sent = { text: Buffer.from(data).toString(), contentType, filename };
    return { resourceType: 'Binary', contentType };
  };
  await medplum.createPdf({ docDefinition: event.input, filename: 'visit.pdf' });
  return sent;
};`;

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'create-pdf-'));
  vi.spyOn(process, 'cwd').mockReturnValue(root);
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

function installPdfmake(): void {
  const folder = join(root, 'node_modules', 'pdfmake');
  mkdirSync(join(folder, 'build'), { recursive: true });
  writeFileSync(join(folder, 'index.js'), PDFMAKE);
  writeFileSync(join(folder, 'build', 'vfs_fonts.js'), FONTS);
}

function run(runtime: BotRuntime, input: object): Promise<BotRunResult> {
  return runBot({
    code: CODE,
    runtime,
    timeout: 10,
    baseUrl: 'http://localhost:1/',
    accessToken: '',
    event: {
      bot: { reference: 'Bot/1' },
      input,
      contentType: 'application/json',
      secrets: {},
    },
  });
}

test('on awslambda it makes a PDF with pdfmake and stores it as a Binary', async () => {
  installPdfmake();
  const { result, error } = await run('awslambda', { content: ['Visit of today'] });
  expect(error).toBeUndefined();
  const { text, contentType, filename } = result as Record<string, string>;
  expect(contentType).toBe('application/pdf');
  expect(filename).toBe('visit.pdf');
  expect(JSON.parse(text!.slice('%PDF '.length))).toEqual({
    definition: { content: ['Visit of today'] },
    options: {},
    fonts: ['Helvetica', 'Roboto'],
  });
});

test('what pdfmake refuses ends the run', async () => {
  installPdfmake();
  const { error } = await run('awslambda', { broken: true });
  expect(error?.message).toBe('Unrecognized document structure');
});

test('without pdfmake it says what to install', async () => {
  const { error } = await run('awslambda', { content: [] });
  expect(error?.message).toBe(
    'medplum.createPdf needs pdfmake: run npm install --save-dev pdfmake@0.2',
  );
});

test('on vmcontext it is refused, as on a real server', async () => {
  installPdfmake();
  const { error } = await run('vmcontext', { content: [] });
  expect(error?.message).toBe('PDF creation not enabled');
});
