// Numbers and quantities in searches, for example `gt5.4` or `5.4|http://unitsofmeasure.org|mg`.
import type { Quantity } from '@medplum/fhirtypes';
import { FhirError } from './errors.ts';

export interface NumberValue {
  prefix: string;
  number: number;
}

export interface QuantityValue extends NumberValue {
  system: string;
  code: string;
}

const NUMBER = /^(eq|ne|gt|ge|lt|le|sa|eb|ap)?(-?\d+(?:\.\d+)?(?:e-?\d+)?)$/i;

/** @throws FhirError 400 HAPI-1940 for a text that is not a number with or without a prefix */
export function readNumberValue(text: string): NumberValue {
  const [, prefix = 'eq', number] = NUMBER.exec(text) ?? [];
  if (number === undefined) {
    throw new FhirError(400, `HAPI-1940: Invalid date/time/quantity format: "${text}"`);
  }
  return { prefix, number: Number(number) };
}

/** @throws FhirError 400 HAPI-1940 for a text that does not begin with a number */
export function readQuantityValue(text: string): QuantityValue {
  const [number = '', system = '', code = ''] = text.split('|');
  return { ...readNumberValue(number), system, code };
}

export function numberMatches(stored: number, { prefix, number }: NumberValue): boolean {
  switch (prefix) {
    case 'gt':
    case 'sa':
      return stored > number;
    case 'ge':
      return stored >= number;
    case 'lt':
    case 'eb':
      return stored < number;
    case 'le':
      return stored <= number;
    case 'ne':
      return stored !== number;
    case 'ap':
      return Math.abs(stored - number) <= Math.abs(number) / 10;
    default:
      return stored === number;
  }
}

export function quantityMatches(stored: Quantity, wanted: QuantityValue): boolean {
  const { value, system, code, unit } = stored;
  return (
    value !== undefined &&
    numberMatches(value, wanted) &&
    (wanted.system === '' || wanted.system === system) &&
    (wanted.code === '' || wanted.code === code || wanted.code === unit)
  );
}
