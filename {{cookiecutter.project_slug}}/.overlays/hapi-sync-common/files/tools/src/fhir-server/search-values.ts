// The values of a resource that a search parameter looks at.
import * as core from '@medplum/core';
import type { Resource, SearchParameter } from '@medplum/fhirtypes';

const expressions = new core.LRUCache<core.FhirPathAtom>(2000);

/** @returns the values that the parameter's FHIRPath expression selects */
export function searchValuesOf(resource: Resource, parameter: SearchParameter): core.TypedValue[] {
  const expression = expressionFor(resource.resourceType, parameter.expression ?? '');
  if (expression === '') {
    return [];
  }
  return core.evalFhirPathTyped(expression, [core.toTypedValue(resource)], undefined, expressions);
}

const shortened = new Map<string, string>();

/** Of `Patient.name | Person.name` only the parts that are about the type. */
function expressionFor(type: string, expression: string): string {
  const key = `${type} ${expression}`;
  let result = shortened.get(key);
  if (result === undefined) {
    const parts = expression.split('|').filter((part) => {
      const [, subject] = /([A-Z]\w*)\./.exec(part) ?? [];
      return (
        subject === undefined ||
        subject === type ||
        subject === 'Resource' ||
        subject === 'DomainResource'
      );
    });
    result = parts.join('|');
    shortened.set(key, result);
  }
  return result;
}
