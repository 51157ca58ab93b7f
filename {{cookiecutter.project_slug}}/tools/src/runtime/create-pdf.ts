// medplum.createPdf of bots on `awslambda`: with pdfmake of the bot layer, which has to be
// installed here too. On `vmcontext` the client has no createPdf. The fonts follow Medplum server
// 5.1.26 [packages/server/src/cloud/aws/deploy.ts].
import { requireFromBotLayer } from './bot-layer.ts';

interface PdfDocument {
  on(event: 'data', listener: (chunk: Uint8Array) => void): void;
  on(event: 'end', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
  end(): void;
}

type Fonts = Record<string, Record<string, unknown>>;

interface PdfPrinter {
  createPdfKitDocument(definition: unknown, options: { tableLayouts?: unknown }): PdfDocument;
}

type PdfPrinterClass = new (fonts: Fonts) => PdfPrinter;

/** pdfmake 0.3 has another interface; the bot layer has 0.2. */
const INSTALL = 'medplum.createPdf needs pdfmake: run npm install --save-dev pdfmake@0.2';

/**
 * @param definition - a document definition of pdfmake
 * @param tableLayouts - custom layouts of tables, by name
 * @param fonts - by name; Helvetica and Roboto if left out
 * @returns the PDF
 * @throws Error where pdfmake is not installed, or cannot make the document
 */
export async function createPdf(
  definition: unknown,
  tableLayouts?: unknown,
  fonts?: Fonts,
): Promise<Buffer> {
  const require = requireFromBotLayer('awslambda');
  let Printer: PdfPrinterClass;
  try {
    Printer = require('pdfmake') as PdfPrinterClass;
  } catch {
    throw new Error(INSTALL);
  }
  const printer = new Printer(fonts ?? defaultFonts(require));
  const document = printer.createPdfKitDocument(definition, { tableLayouts });
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    document.on('data', (chunk) => chunks.push(chunk));
    document.on('end', () => resolve(Buffer.concat(chunks)));
    document.on('error', reject);
    document.end();
  });
}

function defaultFonts(require: (name: string) => unknown): Fonts {
  return {
    Helvetica: {
      normal: 'Helvetica',
      bold: 'Helvetica-Bold',
      italics: 'Helvetica-Oblique',
      bolditalics: 'Helvetica-BoldOblique',
    },
    Roboto: roboto(require),
  };
}

/** Lambda has these fonts as files; here they come out of pdfmake's own bundle for browsers. */
function roboto(require: (name: string) => unknown): Record<string, unknown> {
  const bundle = require('pdfmake/build/vfs_fonts') as {
    pdfMake?: { vfs: Record<string, string> };
  };
  const files = bundle.pdfMake?.vfs ?? (bundle as unknown as Record<string, string>);
  const font = (name: string): Buffer => Buffer.from(files[`Roboto-${name}.ttf`] ?? '', 'base64');
  return {
    normal: font('Regular'),
    bold: font('Medium'),
    italics: font('Italic'),
    bolditalics: font('MediumItalic'),
  };
}
