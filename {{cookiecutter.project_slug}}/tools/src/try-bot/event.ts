// The event that `npm run bot` gives to a bot: from a sample file, from a file that is the input,
// or of an earlier run.
import { ContentType } from '@medplum/core';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { extname } from 'node:path';
import { UserError } from '../terminal/user-error.ts';

const EVENTS = 'tests/events';

export interface TriedEvent {
  input: unknown;
  contentType: string;
  headers: Record<string, string | string[] | undefined>;
  requester?: { reference?: string } | undefined;
  traceId?: string | undefined;
  /** What a user should know about it. */
  note?: string;
}

/** Content types by the ending of a file. */
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.json': ContentType.FHIR_JSON,
  '.hl7': ContentType.HL7_V2,
  '.csv': 'text/csv',
  '.txt': ContentType.TEXT,
  '.form': ContentType.FORM_URL_ENCODED,
  '.xml': 'application/fhir+xml',
};

/**
 * Reads an event. A JSON file holds a whole event (`{ "input": … }`) or a resource; any other file
 * is the input.
 *
 * @param file - its ending tells the content type
 * @throws UserError if there is no event in it
 */
export function readEvent(file: string | undefined): TriedEvent {
  const samples = existsSync(EVENTS) ? readdirSync(EVENTS).join(', ') : 'none';
  if (file === undefined) {
    throw new UserError(`Which event? Add --event ${EVENTS}/<file>. There are: ${samples}.`);
  }
  if (!existsSync(file)) {
    throw new UserError(`${file} does not exist. In ${EVENTS} there are: ${samples}.`);
  }
  if (contentTypeOf(file) !== ContentType.FHIR_JSON) {
    return readInput(file, undefined);
  }
  const content = parseJson(readFileSync(file, 'utf8'), file) as Partial<TriedEvent> & {
    resourceType?: string;
  };
  if (content.resourceType !== undefined) {
    return { input: content, contentType: ContentType.FHIR_JSON, headers: {} };
  }
  if (!('input' in content)) {
    throw new UserError(`${file} is not an event: it needs an "input", or a "resourceType".`);
  }
  return {
    ...content,
    input: content.input,
    contentType: content.contentType ?? ContentType.FHIR_JSON,
    headers: content.headers ?? {},
  };
}

/**
 * Reads what a bot is called with, as Medplum would for a request with this body.
 *
 * @param file - the body
 * @param contentType - instead of the one that the ending tells
 */
export function readInput(file: string, contentType = contentTypeOf(file)): TriedEvent {
  if (!existsSync(file)) {
    throw new UserError(`${file} does not exist.`);
  }
  const text = readFileSync(file, 'utf8');
  const event = { contentType, headers: { 'content-type': contentType } };
  if (/^application\/(.+\+)?json$/.test(contentType)) {
    return { ...event, input: parseJson(text, file) };
  }
  if (contentType === ContentType.TEXT || contentType === ContentType.HL7_V2) {
    return { ...event, input: contentType === ContentType.HL7_V2 ? withSegmentEnds(text) : text };
  }
  if (contentType === ContentType.FORM_URL_ENCODED) {
    return { ...event, input: Object.fromEntries(new URLSearchParams(text.trim())) };
  }
  const note =
    `Medplum gives bots {} for ${contentType}. Send the text as text/plain: ` +
    '--content-type text/plain';
  return { ...event, input: {}, note };
}

function contentTypeOf(file: string): string {
  return CONTENT_TYPES[extname(file).toLowerCase()] ?? ContentType.TEXT;
}

/** Segments of HL7 v2 end with a carriage return; editors write line feeds. */
function withSegmentEnds(text: string): string {
  return text.trim().replaceAll(/\r?\n/g, '\r');
}

function parseJson(text: string, file: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UserError(`${file} is not valid JSON.`);
  }
  if (typeof value !== 'object' || value === null) {
    throw new UserError(`${file} has to hold a JSON object or list: Medplum refuses other values.`);
  }
  return value;
}
