// Plain text, such as Organization.name or Questionnaire.title: only the beginning of the whole
// value counts.
import * as core from '@medplum/core';
import type { Filter } from '@medplum/core';
import { refuse } from './conditions.ts';
import type { Condition } from './conditions.ts';
import { columnValues } from './parameters.ts';
import type { SearchColumn } from './parameters.ts';

export function stringCondition(column: SearchColumn, { operator, value }: Filter): Condition {
  const matchers = core.splitSearchOnComma(value).map((text) => textMatcher(operator, text));
  return (resource) => {
    const texts = columnValues(column, resource) as string[];
    if (column.details.array) {
      return texts.some((text) => matchers.some((matches) => matches(text)));
    }
    const [text] = texts;
    return text === undefined ? undefined : matchers.some((matches) => matches(text));
  };
}

function textMatcher(operator: core.Operator, value: string): (text: string) => boolean {
  const wanted = value.toLowerCase();
  switch (operator) {
    case core.Operator.EXACT:
      return (text) => text === value;
    case core.Operator.CONTAINS:
      return (text) => text.toLowerCase().includes(wanted);
    case core.Operator.EQUALS:
    case core.Operator.STARTS_WITH:
      return (text) => text.toLowerCase().startsWith(wanted);
    default:
      return refuse(`Unsupported string search operator: ${operator}`);
  }
}
