// Colours and tables in a terminal. `styleText` leaves colours out for NO_COLOR and where the
// output is not a terminal.
import { stripVTControlCharacters, styleText } from 'node:util';

export const bold = (text: string): string => styleText('bold', text);
export const dim = (text: string): string => styleText('dim', text);
export const green = (text: string): string => styleText('green', text);
export const red = (text: string): string => styleText('red', text);
export const yellow = (text: string): string => styleText('yellow', text);

/**
 * A text of a server, or of a bot's log, without the characters that control a terminal: they could
 * clear it, or write over lines.
 */
export function printable(text: string): string {
  return text.replaceAll(/(?!\t)\p{Cc}/gu, ' ');
}

/** A text as one line, without the blanks around it. */
export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

type Cell = string | number;

/**
 * Aligns rows in columns; a column of numbers is aligned to the right.
 *
 * @param headers - one for each column
 * @param rows - cells, which may be coloured; trailing cells of a row may be left out
 */
export function table(headers: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const columns = headers.map((header, index) => {
    const cells = rows.map((row) => visibleText(row[index]));
    return {
      width: Math.max(header.length, ...cells.map((cell) => cell.length)),
      isNumeric: cells.every((cell) => /^([+-]?[\d,.]+( %)?)?$/.test(cell)),
    };
  });
  const formatRow = (row: readonly Cell[]): string => {
    const cells = columns.map(({ width, isNumeric }, index) => {
      const padding = ' '.repeat(width - visibleText(row[index]).length);
      return isNumeric ? padding + cellText(row[index]) : cellText(row[index]) + padding;
    });
    return cells.join('  ').trimEnd();
  };
  return [bold(formatRow(headers)), ...rows.map(formatRow)].join('\n');
}

function cellText(cell: Cell = ''): string {
  return typeof cell === 'number' ? cell.toLocaleString('en') : cell;
}

function visibleText(cell: Cell | undefined): string {
  return stripVTControlCharacters(cellText(cell));
}
