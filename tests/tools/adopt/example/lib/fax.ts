export function faxNumber(text: string): string {
  return text.replace(/[^+\d]/g, '');
}
