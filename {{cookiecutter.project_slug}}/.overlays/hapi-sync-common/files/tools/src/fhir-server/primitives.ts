// The values that HAPI's parser accepts for FHIR's primitive types, and what it makes of them. It
// is more lenient than FHIR's own rules (any text is a uri, the string "true" is a boolean), and
// stricter elsewhere (codes, days of months).
import type { ElementDefinition } from './definitions.ts';
import { FhirError, unparsable } from './errors.ts';

export type Scalar = string | number | boolean;

const MAX_INTEGER = 2_147_483_647;
const INTEGER = /^[+-]?\d+$/;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const BASE64 = /^[A-Za-z0-9+/=_\-\s]*$/;

/**
 * Reads one value of a primitive element.
 *
 * @param value - as it stands in the JSON; HAPI turns numbers and booleans into text first
 * @returns the value as HAPI stores it; undefined for one that counts as empty
 * @throws FhirError 400 HAPI-1821 for a value outside the type
 */
export function readPrimitive(value: Scalar, element: ElementDefinition): Scalar | undefined {
  const text = String(value);
  if (isBlank(text)) {
    return undefined;
  }
  if (element.codes) {
    return element.codes.has(text) ? text : invalid(element, text, 'unknown code');
  }
  switch (element.type) {
    case 'boolean':
      return readBoolean(text, element);
    case 'integer':
    case 'positiveInt':
    case 'unsignedInt':
      return readInteger(text, element);
    case 'decimal':
      return DECIMAL.test(text) ? Number(text) : invalid(element, text, 'not a decimal number');
    case 'base64Binary':
      return readBase64(text, element);
    case 'date':
    case 'dateTime':
    case 'instant':
      return isDateTime(text) ? text : invalid(element, text, 'invalid date/time format');
    default:
      return text;
  }
}

function isBlank(text: string): boolean {
  return text.trim() === '';
}

function invalid(element: ElementDefinition, text: string, reason: string): never {
  throw unparsable(
    `HAPI-1821: [element="${element.name}"] Invalid attribute value "${text}": ${reason}`,
  );
}

function readBoolean(text: string, element: ElementDefinition): boolean {
  const trimmed = text.trim();
  if (trimmed === 'true' || trimmed === 'false') {
    return trimmed === 'true';
  }
  return invalid(element, text, 'invalid boolean');
}

function readInteger(text: string, element: ElementDefinition): number {
  const number = Number(text);
  if (!INTEGER.test(text) || number > MAX_INTEGER || number < -MAX_INTEGER - 1) {
    return invalid(element, text, 'not an integer of 32 bits');
  }
  return number;
}

/** White space and what follows the padding are dropped; missing padding is added. */
function readBase64(text: string, element: ElementDefinition): string | undefined {
  if (!BASE64.test(text)) {
    return invalid(element, text, 'not base64');
  }
  const [data = ''] = text.replaceAll(/\s/g, '').split('=');
  return Buffer.from(data, 'base64').toString('base64') || undefined;
}

const DATE_TIME =
  /^(?<year>[+\d]\d{3})(-(?<month>\d\d)(-(?<day>\d\d)(T(?<hour>\d\d):(?<minute>\d\d)(?<seconds>:(?<second>\d\d)(\.\d+)?)?(?<zone>Z.*|[+-](?<zoneHour>\d\d):(?<zoneMinute>\d\d))?)?)?)?$/;

/**
 * Any precision from years to fractions of a second is accepted for each of the types. A leap
 * second is valid.
 */
function isDateTime(text: string): boolean {
  const parts = DATE_TIME.exec(text.trim())?.groups;
  if (!parts) {
    return false;
  }
  const {
    year,
    month = '01',
    day = '01',
    hour = '00',
    minute = '00',
    seconds,
    second = '00',
    zone,
  } = parts;
  if (parts.hour !== undefined && seconds === undefined && zone === undefined) {
    return false;
  }
  return (
    isBetween(month, 1, 12) &&
    isBetween(day, 1, daysOfMonth(Number(year), Number(month))) &&
    isBetween(hour, 0, 23) &&
    isBetween(minute, 0, 59) &&
    isBetween(second, 0, 60) &&
    isBetween(parts.zoneHour ?? '00', 0, 23) &&
    isBetween(parts.zoneMinute ?? '00', 0, 59)
  );
}

function isBetween(text: string, lowest: number, highest: number): boolean {
  return Number(text) >= lowest && Number(text) <= highest;
}

function daysOfMonth(year: number, month: number): number {
  if (month === 2) {
    const isLeapYear = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
    return isLeapYear ? 29 : 28;
  }
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * HAPI fails while it indexes half of a surrogate pair, or a date with a space before or after it.
 *
 * @param texts - the texts of a resource that can be searched by
 * @param dates - its dates that can be searched by
 * @param number - HAPI's number for the failure, for example `HAPI-2223`
 * @throws FhirError 500
 */
export function assertIndexable(texts: string[], dates: string[], number: string): void {
  if (texts.some((text) => LONE_SURROGATE.test(text))) {
    throw new FhirError(
      500,
      `${number}: Expected a whole surrogate pair in a text that is indexed`,
    );
  }
  if (dates.some((date) => date !== date.trim())) {
    throw new FhirError(500, `${number}: Unexpected space in a date that is indexed`);
  }
}
