// Dates in searches. A stored date is a range of time: `1980` is the whole year. So is the date of
// a search. A prefix (`ge`, `lt`, …) says how the stored range must relate to the wanted one;
// without a prefix, HAPI asks that it lies within.
import { FhirError } from './errors.ts';

/** Milliseconds since 1970; both ends belong to it. */
export interface TimeRange {
  low: number;
  high: number;
}

export interface DateValue extends TimeRange {
  prefix: string;
  /** A month or a year. */
  isLong: boolean;
}

const DAY_MS = 86_400_000;
const PREFIXES = new Set(['eq', 'ne', 'gt', 'ge', 'lt', 'le', 'sa', 'eb']);
const DATE =
  /^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?$/;

/**
 * @param text - a date with or without a prefix, for example `ge2020-01-01`
 * @throws FhirError 400 HAPI-1940, HAPI-1941, HAPI-1925 or HAPI-1882 for what HAPI does not read
 */
export function readDateValue(text: string): DateValue {
  const [, prefix = 'eq', date = ''] = /^([a-z]{2})?(.*)$/s.exec(text) ?? [];
  if (!/^\d/.test(date)) {
    throw new FhirError(400, `HAPI-1940: Invalid date/time/quantity format: "${text}"`);
  }
  if (prefix === 'ap') {
    throw new FhirError(400, 'HAPI-1925: Unknown comparator: APPROXIMATE');
  }
  if (!PREFIXES.has(prefix)) {
    throw new FhirError(400, `HAPI-1941: Invalid prefix: "${prefix}"`);
  }
  if (!DATE.test(date)) {
    throw new FhirError(400, `HAPI-1882: Invalid date/time format: "${date}"`);
  }
  return { prefix, isLong: date.length < 'YYYY-MM-DD'.length, ...rangeOfDate(date) };
}

/**
 * @returns the time from the first to the last millisecond of a date; a date without a time zone is
 *   taken as UTC
 */
export function rangeOfDate(text: string): TimeRange {
  const [, year, month, day, hour, minute, second, fraction, zone] = DATE.exec(text.trim()) ?? [];
  const parts = [year, month, day, hour, minute, second].map((part) =>
    part === undefined ? undefined : Number(part),
  );
  const offset = zone === undefined || zone === 'Z' ? 0 : offsetOf(zone);
  const milliseconds =
    fraction === undefined ? undefined : Math.floor(Number(`0.${fraction}`) * 1000);
  const low = startOf([...parts, milliseconds]) - offset;
  const high = endOf([...parts, milliseconds]) - offset;
  return { low, high };
}

function offsetOf(zone: string): number {
  const [hours = 0, minutes = 0] = zone.slice(1).split(':').map(Number);
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

type Parts = (number | undefined)[];

function startOf([
  year = 0,
  month = 1,
  day = 1,
  hour = 0,
  minute = 0,
  second = 0,
  milliseconds = 0,
]: Parts): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, milliseconds);
  return date.getTime();
}

/** The start of the next year, month, day, minute or second, less a millisecond. */
function endOf(parts: Parts): number {
  const precision = parts.findLastIndex((part) => part !== undefined);
  const next = parts.map((part, index) => (index === precision ? part! + 1 : part));
  return startOf(next) - 1;
}

/**
 * A quirk of HAPI: `ge1980` compares with the last day of 1980, and `le1980` with the first.
 *
 * @returns whether a stored range matches a wanted date
 */
export function dateMatches({ low, high }: TimeRange, wanted: DateValue): boolean {
  const firstDay = wanted.isLong ? wanted.low + DAY_MS - 1 : wanted.high;
  const lastDay = wanted.isLong ? wanted.high - DAY_MS + 1 : wanted.low;
  switch (wanted.prefix) {
    case 'gt':
      return low > wanted.high || high > wanted.high;
    case 'sa':
      return low > wanted.high;
    case 'ge':
      return low >= lastDay || high >= lastDay;
    case 'lt':
      return low < wanted.low || high < wanted.low;
    case 'eb':
      return high < wanted.low;
    case 'le':
      return low <= firstDay || high <= firstDay;
    case 'ne':
      return low < wanted.low || high > wanted.high;
    default:
      return low >= wanted.low && high <= wanted.high;
  }
}

const LOWER_BOUNDS = new Set(['gt', 'ge', 'sa']);
const UPPER_BOUNDS = new Set(['lt', 'le', 'eb']);

/**
 * Several values of one date parameter can only be a lower and an upper bound.
 *
 * @param values - the values of the parameter, each with its prefix
 * @throws FhirError 400 HAPI-1922, HAPI-1923 or HAPI-1924
 */
export function assertBounds(values: DateValue[]): void {
  let hasLower = false;
  let hasUpper = false;
  for (const { prefix } of values) {
    const isLower = LOWER_BOUNDS.has(prefix);
    const isUpper = UPPER_BOUNDS.has(prefix);
    if (!isLower && !isUpper && (hasLower || hasUpper)) {
      refuseBounds('1922', 'without a qualifier');
    }
    if (isLower && hasLower) {
      refuseBounds('1923', 'that specify a lower bound');
    }
    if (isUpper && hasUpper) {
      refuseBounds('1924', 'that specify an upper bound');
    }
    hasLower ||= !isUpper;
    hasUpper ||= !isLower;
  }
}

function refuseBounds(number: string, reason: string): never {
  const text = `Can not have multiple date range parameters for the same param ${reason}`;
  throw new FhirError(400, `HAPI-${number}: ${text}`);
}
