// Which npm package an import names.

/**
 * @param specifier - what is imported: `pdfmake/interfaces.js`, `@aws-sdk/client-s3`
 * @returns the name of the package in it: `pdfmake`, `@aws-sdk/client-s3`
 */
export function packageNameIn(specifier: string): string {
  return /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;
}
