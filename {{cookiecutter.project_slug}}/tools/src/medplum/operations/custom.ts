// Custom operations: an OperationDefinition whose implementation is a bot runs it at `$code`.
import * as core from '@medplum/core';
import type { FhirRequest, FhirResponse } from '@medplum/fhir-router';
import type {
  Bot,
  OperationDefinition,
  OperationDefinitionParameter,
  Parameters,
  ParametersParameter,
  Reference,
} from '@medplum/fhirtypes';
import { randomUUID } from 'node:crypto';
import { runAsOf } from '../bot-execution.ts';
import type { ExecuteBot } from '../execute-bot.ts';
import type { LocalRepository } from '../repository.ts';

const IMPLEMENTATION =
  'https://medplum.com/fhir/StructureDefinition/operationDefinition-implementation';

/** @returns undefined where the address names no operation that a bot implements */
export async function tryCustomOperation(
  request: FhirRequest,
  repo: LocalRepository,
  execute: ExecuteBot,
): Promise<FhirResponse | undefined> {
  const operation = await findOperation(request, repo);
  const reference = operation && botReference(operation);
  if (!operation || !reference) {
    return undefined;
  }
  const { state, actor } = repo;
  const bot = await repo.readReference<Bot>(reference);
  const result = await execute({
    bot: state.store.latest('Bot', bot.id)!.resource as typeof bot,
    cause: 'operation',
    runAs: (bot.runAsUser ? undefined : runAsOf(state, bot)) ?? actor.membership!,
    requester: actor.author,
    input: await operationInput(request, repo, operation),
    contentType: String(request.headers?.['content-type'] ?? ''),
    headers: request.headers,
    traceId: String(request.headers?.['x-trace-id'] ?? randomUUID()),
  });
  if (!result.success) {
    return [core.badRequest(result.log), result.value as Parameters];
  }
  try {
    return [core.allOk, outputOf(operation, result.value)];
  } catch (error) {
    return [core.normalizeOperationOutcome(error)];
  }
}

function operationParts({ url }: FhirRequest): string[] {
  return url.split('?')[0]!.split('/');
}

async function findOperation(
  request: FhirRequest,
  repo: LocalRepository,
): Promise<OperationDefinition | undefined> {
  const code = operationParts(request)
    .find((part) => part.startsWith('$'))
    ?.slice(1);
  if (!code) {
    return undefined;
  }
  return repo.searchOne<OperationDefinition>({
    resourceType: 'OperationDefinition',
    filters: [{ code: 'code', operator: core.Operator.EXACT, value: code }],
  });
}

function botReference(operation: OperationDefinition): Reference<Bot> | undefined {
  const reference = core.getExtension(operation, IMPLEMENTATION)?.valueReference;
  return reference?.reference?.startsWith('Bot/') ? (reference as Reference<Bot>) : undefined;
}

/** On an instance the resource, otherwise the body of a POST or the query of a GET. */
async function operationInput(
  request: FhirRequest,
  repo: LocalRepository,
  operation: OperationDefinition,
): Promise<unknown> {
  const parts = operationParts(request);
  const at = parts.findIndex((part) => part.startsWith('$'));
  const [type, id] = [parts[at - 2], parts[at - 1]];
  if (operation.instance && at >= 3 && type && id) {
    return repo.readResource(type, id);
  }
  return request.method === 'POST' ? request.body : request.query;
}

/** @throws Error where the bot's answer does not fit the `out` parameters */
function outputOf(operation: OperationDefinition, output: unknown): Parameters {
  const definitions = (operation.parameter ?? []).filter(({ use }) => use === 'out');
  const [first] = definitions;
  if (definitions.length === 1 && first?.name === 'return') {
    if (!core.isResource(output, first.type as never)) {
      throw new Error(
        `Expected ${first.type ?? 'Resource'} output, but got unexpected ${typeof output}`,
      );
    }
    return output as Parameters;
  }
  if (definitions.length === 0) {
    return { resourceType: 'Parameters' };
  }
  const parameter = definitions.flatMap((definition) => parametersOf(definition, output));
  const result: Parameters = { resourceType: 'Parameters', parameter };
  core.validateResource(result);
  return result;
}

function parametersOf(
  definition: OperationDefinitionParameter,
  output: unknown,
): ParametersParameter[] {
  const value = (output as Record<string, unknown> | undefined)?.[definition.name];
  checkCount(definition, value);
  if (core.isEmpty(value)) {
    return [];
  }
  return [value].flat().flatMap((item) => parameterOf(definition, item) ?? []);
}

function checkCount({ name, min, max }: OperationDefinitionParameter, value: unknown): void {
  const single = value === undefined ? 0 : 1;
  const count = Array.isArray(value) ? value.length : single;
  if (count < min) {
    throw new Error(`Expected ${min} or more values for output parameter '${name}', got ${count}`);
  }
  if (max !== '*' && count > Number(max)) {
    throw new Error(`Expected at most ${max} values for output parameter '${name}', got ${count}`);
  }
}

function parameterOf(
  definition: OperationDefinitionParameter,
  value: unknown,
): ParametersParameter | undefined {
  const { name, type, part } = definition;
  if (part && typeof value === 'object') {
    return { name, part: part.flatMap((inner) => parametersOf(inner, value)) };
  }
  if (!type || type === 'Element') {
    return undefined;
  }
  return { name, [`value${core.capitalize(type)}`]: value } as ParametersParameter;
}
