// The built bots against a real HAPI FHIR JPA server: what HAPI does that a sync can meet, races,
// and writes that arrive late.
import { randomUUID } from 'node:crypto';
import type { Patient } from '@medplum/fhirtypes';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { identifierQuery } from '../src/shared/fhir-identifier.ts';
import { HTTP_VERBS, makeConditionalFhirRequest } from '../src/shared/http-helpers.ts';
import {
  carriers,
  CLIENT,
  HAPI,
  read,
  said,
  startTestEnvironment,
  stranger,
  SYSTEM,
  TOKEN,
} from './test-environment.ts';
import type { TestEnvironment } from './test-environment.ts';

const SYNC = 'hapi-sync-bot';
const SIMPLE = 'hapi-sync-simple-bot';
const PHI = {
  name: [{ family: 'Lovelace', given: ['Augusta'] }],
  birthDate: '1815-12-10',
} as const;
const MRN = { system: 'urn:mrn', value: 'MRN-77x' };

let environment: TestEnvironment;
let id: string;

beforeEach(async () => {
  environment = await startTestEnvironment();
  id = randomUUID();
});
afterEach(() => environment.stop());
afterAll(() => {
  expect(said.length).toBeGreaterThan(50);
  for (const line of said) {
    expect(line).not.toMatch(
      new RegExp(
        ['Lovelace|Augusta|1815-12-10|MRN-77x', TOKEN, ...Object.values(CLIENT)].join('|'),
      ),
    );
  }
});

function save(patient: Partial<Patient> = {}, patientId = id): object {
  return environment.source.save({
    resourceType: 'Patient',
    id: patientId,
    ...PHI,
    identifier: [MRN],
    ...patient,
  } as never);
}

/** HAPI has exactly what Medplum has. */
async function expectSame(patientId = id): Promise<void> {
  const here = environment.source.current('Patient', patientId) as Patient | undefined;
  const there = await carriers(patientId);
  expect(there).toHaveLength(here ? 1 : 0);
  expect(there[0]?.gender).toBe(here?.gender);
  expect(there[0]?.id).toBe(here && patientId);
}

describe.each(['vmcontext', 'awslambda'] as const)('on %s', (runtime) => {
  const result = async (bot: string, event: object): Promise<unknown> => {
    const { error, result: value } = await environment.run(bot, event, runtime);
    expect(error).toBeUndefined();
    return value;
  };

  test('hapi-sync-bot: create, no-op, update, delete, delete again, restore', async () => {
    const event = save({ gender: 'female' });
    expect(await result(SYNC, event)).toMatchObject({ action: 'created', version: '1' });
    expect(environment.requests).toHaveLength(2);
    expect(environment.source.requests).toHaveLength(2);
    expect(await result(SYNC, event)).toMatchObject({ action: 'unchanged', version: '1' });
    expect(await result(SYNC, save({ gender: 'other' }))).toMatchObject({
      action: 'updated',
      version: '2',
    });
    await expectSame();
    const deletion = environment.source.remove('Patient', id);
    expect(await result(SYNC, deletion)).toMatchObject({ action: 'deleted' });
    expect(await result(SYNC, deletion)).toMatchObject({ action: 'absent' });
    expect((await read(`Patient/${id}`)).status).toBe(410);
    expect(await result(SYNC, save({ gender: 'male' }))).toMatchObject({
      action: 'created',
      version: '4',
    });
    await expectSame();
  });

  test('hapi-sync-simple-bot: create, no-op, update, delete', async () => {
    const event = save({ gender: 'female' });
    for (let n = 0; n < 2; n++) {
      expect(await result(SIMPLE, event)).toBe(true);
    }
    expect(await carriers(id)).toMatchObject([{ gender: 'female', meta: { versionId: '1' } }]);
    await result(SIMPLE, save({ gender: 'other' }));
    expect(await carriers(id)).toMatchObject([{ gender: 'other', meta: { versionId: '2' } }]);
    await result(SIMPLE, environment.source.remove('Patient', id));
    expect(await carriers(id)).toEqual([]);
  });
});

describe('harms no other resource', () => {
  test.each([SYNC, SIMPLE])(
    '%s: deleting a patient that never arrived, while a stranger is there',
    async (bot) => {
      const innocent = await stranger({ identifier: [{ system: 'urn:x', value: id }] });
      save();
      const { error } = await environment.run(bot, environment.source.remove('Patient', id));
      expect(error).toBeUndefined();
      expect((await read(`Patient/${innocent}`)).status).toBe(200);
    },
  );

  test.each([SYNC, SIMPLE])(
    '%s: a record that was merged there is not deleted for one of its two',
    async (bot) => {
      await environment.run(bot, save());
      const [copy] = await carriers(id);
      const other = randomUUID();
      save({}, other);
      const merged = {
        ...copy,
        identifier: [...(copy?.identifier ?? []), { system: SYSTEM, value: other }],
      };
      const headers = { 'content-type': 'application/fhir+json' };
      await fetch(`${HAPI}/Patient/${copy?.id}`, {
        method: 'PUT',
        headers,
        body: JSON.stringify(merged),
      });
      if (bot === SYNC) {
        // It does not undo what was merged there.
        await environment.run(bot, save({ gender: 'female' }));
      }
      await environment.run(bot, environment.source.remove('Patient', id));
      expect((await read(`Patient/${copy?.id}`)).status).toBe(200);
      if (bot === SYNC) {
        environment.source.remove('Patient', other); // now it stands for none that lives
        expect(
          (await environment.run(bot, environment.source.remove('Patient', id))).result,
        ).toMatchObject({
          action: 'deleted',
        });
      }
    },
  );

  test.each(['a|b', 'a,b', 'a&b', 'a b', 'a+b', 'a$b', 'a\\b', 'a=b', '100%', '日本 é', 'x?y#z'])(
    'an identifier of %j is one identifier',
    async (text) => {
      const value = `${text} ${id}`;
      const parts = await Promise.all(
        text
          .split(/[,|]/)
          .map((part) => stranger({ identifier: [{ system: SYSTEM, value: part }] })),
      );
      const patient: Patient = { resourceType: 'Patient', identifier: [{ system: SYSTEM, value }] };
      const query = identifierQuery(SYSTEM, value);
      await makeConditionalFhirRequest(HAPI, 'Patient', query, HTTP_VERBS.PUT, patient);
      await makeConditionalFhirRequest(HAPI, 'Patient', query, HTTP_VERBS.PUT, {
        ...patient,
        active: true,
      });
      expect(await carriers(value)).toMatchObject([{ active: true }]);
      await makeConditionalFhirRequest(HAPI, 'Patient', query, HTTP_VERBS.DELETE);
      expect(await carriers(value)).toEqual([]);
      for (const part of parts) {
        expect((await read(`Patient/${part}`)).status).toBe(200);
      }
    },
  );

  test('without a delete event, a 404 of Medplum or a hiding policy deletes nothing', async () => {
    const event = save();
    await environment.run(SYNC, event);
    environment.source.access = 'hidden';
    expect((await environment.run(SYNC, event)).error?.message).toMatch('not-found');
    expect((await read(`Patient/${id}`)).status).toBe(200);
  });
});

describe('what travels', () => {
  test('meta.security, tag and profile are copied and removed; other meta stays', async () => {
    const label = (code: string): object => ({
      system: 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality',
      code,
    });
    const project = { project: 'p', author: { reference: 'Practitioner/1' } };
    await environment.run(
      SYNC,
      save({
        meta: {
          security: [label('R')],
          tag: [{ code: 'a' }],
          profile: ['http://x/p'],
          ...project,
        } as never,
      }),
    );
    expect((await read(`Patient/${id}`)).body.meta).toMatchObject({
      security: [{ code: 'R' }],
      profile: ['http://x/p'],
    });
    expect((await read(`Patient/${id}`)).body.meta?.tag).toContainEqual(
      expect.objectContaining({ code: 'a' }),
    );
    await environment.run(SYNC, save({ meta: { security: [label('N')] } as never }));
    const { meta } = (await read(`Patient/${id}`)).body;
    expect(meta).toMatchObject({ security: [{ code: 'N' }], tag: [{ code: 'synced' }] });
    expect(meta?.security).toHaveLength(1);
    expect(meta?.tag).toHaveLength(1);
    expect(meta).not.toHaveProperty('profile');
  });

  test('a managingOrganization that is not synced becomes a logical reference', async () => {
    const managingOrganization = { reference: `Organization/${randomUUID()}`, display: 'A clinic' };
    expect((await environment.run(SYNC, save({ managingOrganization }))).result).toMatchObject({
      leftOut: 1,
    });
    const written = (await read(`Patient/${id}`)).body.managingOrganization;
    expect(written).toMatchObject({ display: 'A clinic', type: 'Organization' });
    expect(`Organization/${written?.identifier?.value}`).toBe(managingOrganization.reference);
    expect(written).not.toHaveProperty('reference');
    expect((await environment.run(SIMPLE, save({ managingOrganization }))).error).toBeUndefined();
  });

  test('patients that link to each other, and to themselves', async () => {
    const [b, c] = [randomUUID(), randomUUID()];
    const link = (...ids: string[]): Partial<Patient> => ({
      link: ids.map((other) => ({ other: { reference: `Patient/${other}` }, type: 'seealso' })),
    });
    save(link(c, b), b);
    save(link(id), c);
    expect((await environment.run(SYNC, save(link(b)))).result).toMatchObject({
      action: 'created',
      leftOut: 0,
    });
    for (const patient of [id, b, c]) {
      await expectSame(patient);
    }
    expect((await read(`Patient/${b}`)).body.link).toHaveLength(2);
  });

  test('a link to a deleted patient is left out until the patient is restored', async () => {
    const gone = randomUUID();
    await environment.run(SYNC, save({}, gone));
    await environment.run(SYNC, environment.source.remove('Patient', gone));
    const link = [{ other: { reference: `Patient/${gone}` }, type: 'seealso' as const }];
    expect((await environment.run(SYNC, save({ link }))).result).toMatchObject({
      action: 'created',
      leftOut: 1,
    });
    await environment.run(SYNC, save({}, gone));
    expect((await environment.run(SYNC, save({ link, active: true }))).result).toMatchObject({
      leftOut: 0,
    });
    expect((await read(`Patient/${id}`)).body.link).toEqual(link);
  });

  const linkTo = (to: string): Partial<Patient> => ({
    link: [{ other: { reference: `Patient/${to}` }, type: 'seealso' }],
  });

  test('a patient that another one links to takes the link along', async () => {
    const other = randomUUID();
    await environment.run(SYNC, save());
    await environment.run(SYNC, save({ gender: 'other', ...linkTo(id) }, other));
    expect(
      (await environment.run(SYNC, environment.source.remove('Patient', id))).result,
    ).toMatchObject({
      action: 'deleted',
    });
    await expectSame();
    await expectSame(other);
    expect((await read(`Patient/${other}`)).body).not.toHaveProperty('link');
  });

  test('two patients that link to each other both go', async () => {
    const other = randomUUID();
    save(linkTo(id), other);
    await environment.run(SYNC, save(linkTo(other)));
    const deletions = [id, other].map((each) => environment.source.remove('Patient', each));
    for (const { error } of await Promise.all(
      deletions.map((event) => environment.run(SYNC, event)),
    )) {
      expect(error).toBeUndefined();
    }
    await expectSame();
    await expectSame(other);
  });

  test('a patient that another client links to is reported, and deleted later', async () => {
    await environment.run(SYNC, save());
    const holder = await stranger(linkTo(id));
    const deletion = environment.source.remove('Patient', id);
    environment.requests.length = 0;
    const { error, log } = await environment.run(SYNC, deletion);
    expect(error?.message).toMatch(/^DELETE Patient: HTTP 409/);
    expect(log[0]).toMatch(`SYNC Patient/${id} failed: blocked HTTP 409`);
    expect(environment.requests.length).toBeLessThan(7);
    const again = await environment.run('hapi-reconcile-bot', { input: { report: true } });
    expect(again.result).toMatchObject({ failures: { blocked: 1 } });
    await fetch(`${HAPI}/Patient/${holder}`, { method: 'DELETE' });
    expect((await environment.run('hapi-reconcile-bot', {})).error).toBeUndefined();
    await expectSame();
  });

  test('a full patient is copied without what HAPI refuses, then equals the source', async () => {
    environment.authority = `urn:test:${id}`;
    const refers = (reference: string): object => ({
      url: 'urn:x:refers',
      valueReference: { reference },
    });
    const tag = (code: string, display: string): object => ({
      system: `urn:tag:${id}`,
      code,
      display,
    });
    await stranger({
      meta: {
        tag: [tag('a', 'the words of its first use'), { system: 'urn:x', code: 'bare' }],
      } as never,
    });
    const rich = {
      text: {
        status: 'generated',
        div: "<div xmlns='http://www.w3.org/1999/xhtml'>A&nbsp;<b class='x' title=\"y\">patient</b> &eacute; <br></br></div>",
      },
      contained: [
        { resourceType: 'Organization', id: 'clinic', name: 'Clinic', meta: { versionId: '7' } },
      ],
      managingOrganization: { reference: '#clinic' },
      generalPractitioner: [
        { reference: 'https://elsewhere.example/fhir/Practitioner/1', display: 'Elsewhere' },
        { reference: `urn:uuid:${randomUUID()}` },
        { identifier: { system: 'urn:npi', value: '1' } },
      ],
      contact: [{ name: { text: 'Mother' }, organization: { reference: 'Organization/unknown' } }],
      extension: [
        refers('Practitioner/unknown'),
        { url: 'urn:x:amount', valueDecimal: 1.5 },
        { url: 'urn:x:empty' },
        { url: 'https://medplum.com/fhir/StructureDefinition/x', valueBoolean: true },
      ],
      _birthDate: { extension: [{ url: 'urn:x:time', valueDateTime: '1815-12-10T12:00:00Z' }] },
      photo: [
        {
          contentType: 'image/png',
          url: 'https://storage.example/1?Expires=1&Signature=x',
          title: 'Face',
        },
      ],
      communication: [
        { language: { coding: [{ system: 'urn:ietf:bcp:47', code: 'en' }] }, preferred: true },
      ],
      meta: {
        tag: [tag('b', 'B'), tag('a', 'A'), { code: 'bare' }, { display: 'no code' }],
        profile: ['urn:z', 'urn:y'],
        project: randomUUID(),
      },
    };
    expect((await environment.run(SYNC, save(rich as never))).result).toMatchObject({
      action: 'created',
      leftOut: 4,
    });
    const { body } = await read(`Patient/${id}`);
    expect(body.managingOrganization?.reference).toBe('#clinic');
    expect(body.generalPractitioner).toMatchObject([
      { display: 'Elsewhere', identifier: { system: 'urn:ietf:rfc:3986' } },
      { identifier: { system: 'urn:ietf:rfc:3986' } },
      { identifier: { system: 'urn:npi', value: '1' } },
    ]);
    expect(body.photo).toEqual([{ contentType: 'image/png', title: 'Face' }]);
    const { result } = await environment.run('hapi-reconcile-bot', {
      input: { mode: 'full', dryRun: true },
    });
    expect(result).toMatchObject({ counts: { checked: 1, differing: 0, failed: 0 } });
  });

  test('an organization that the target lacks is written with its patient', async () => {
    environment.variant = 'types';
    const [clinic, later] = [randomUUID(), randomUUID()];
    const managingOrganization = { reference: `Organization/${clinic}` };
    environment.source.save({ resourceType: 'Organization', id: clinic, name: 'Clinic' });
    expect((await environment.run(SYNC, save({ managingOrganization }))).result).toMatchObject({
      leftOut: 0,
    });
    expect((await read(`Organization/${clinic}`)).status).toBe(200);
    expect((await read(`Patient/${id}`)).body.managingOrganization).toEqual(managingOrganization);
    save({ managingOrganization: { reference: `Organization/${later}` } }, later);
    environment.source.save({ resourceType: 'Organization', id: later, name: 'Another' });
    environment.requests.length = 0;
    const { result } = await environment.run('hapi-reconcile-bot', {});
    expect(result).toMatchObject({ complete: true, counts: { differing: 2, failed: 0 } });
    expect((await read(`Patient/${later}`)).body.managingOrganization?.reference).toBe(
      `Organization/${later}`,
    );
    const transactions = environment.requests.filter((request) => request === 'POST ');
    expect(transactions, 'each type in one transaction: nothing had to be done twice').toHaveLength(
      2,
    );
  });
});

describe('races', () => {
  test.each([8, 20])('%i events of a new patient at once make one', async (events) => {
    const event = save({ gender: 'female' });
    const runs = await Promise.all(
      Array.from({ length: events }, () => environment.run(SYNC, event)),
    );
    expect(runs.flatMap(({ error }) => error ?? [])).toEqual([]);
    await expectSame();
  });

  test('updates during a delete, and a delete during updates', async () => {
    for (const last of ['delete', 'update']) {
      await environment.run(SYNC, save());
      const events: object[] = [save({ gender: 'male' }), save({ gender: 'female' })];
      if (last === 'delete') {
        events.push(environment.source.remove('Patient', id));
      } else {
        events.push(environment.source.remove('Patient', id), save({ gender: 'unknown' }));
      }
      await Promise.all(
        [...events, ...events.toReversed()].map((event) => environment.run(SYNC, event)),
      );
      await expectSame();
    }
  });

  test('changes while the bots run', async () => {
    const genders = ['male', 'female', 'other', 'unknown'] as const;
    let n = 0;
    environment.source.before = () => {
      if (++n < 12) {
        save({ gender: genders[n % 4] });
      }
    };
    const event = save();
    await Promise.all([1, 2, 3].map(() => environment.run(SYNC, event)));
    await expectSame();
  });
});

describe('a write that is held up and lands late', () => {
  const holdFirst = (verb: string): void => {
    let held = false;
    environment.fault = (request) => {
      const hold = !held && request.startsWith(verb);
      held ||= hold;
      return hold ? 'hold' : undefined;
    };
  };

  test('a create, after the patient was deleted', async () => {
    holdFirst('PUT');
    await environment.run(SYNC, save());
    await environment.run(SYNC, environment.source.remove('Patient', id));
    expect(await environment.release()).toEqual([409]);
    await expectSame();
  });

  test('a create, after the patient was deleted before it ever arrived', async () => {
    let held = false;
    environment.fault = (request) => {
      if (held || !request.startsWith('PUT')) {
        return undefined;
      }
      held = true;
      environment.source.remove('Patient', id);
      return 'hold';
    };
    expect((await environment.run(SYNC, save())).result).toMatchObject({ action: 'deleted' });
    expect(await environment.release()).toEqual([409]);
    await expectSame();
  });

  test('an update, after a newer one', async () => {
    await environment.run(SYNC, save({ gender: 'female' }));
    holdFirst('PUT');
    await environment.run(SYNC, save({ gender: 'male' }));
    await environment.run(SYNC, save({ gender: 'other' }));
    expect(await environment.release()).toEqual([409]);
    await expectSame();
  });

  test('an update after a delete, and a restore after another delete', async () => {
    await environment.run(SYNC, save());
    holdFirst('PUT');
    await environment.run(SYNC, save({ gender: 'male' }));
    await environment.run(SYNC, environment.source.remove('Patient', id));
    holdFirst('PUT');
    await environment.run(SYNC, save({ gender: 'other' }));
    await environment.run(SYNC, environment.source.remove('Patient', id));
    expect(await environment.release()).toEqual([409, 409]);
    await expectSame();
  });

  test('a transaction of patients that link to each other, after both were deleted', async () => {
    const other = randomUUID();
    const link = (to: string): Partial<Patient> => ({
      link: [{ other: { reference: `Patient/${to}` }, type: 'seealso' }],
    });
    save(link(id), other);
    holdFirst('POST');
    await environment.run(SYNC, save(link(other)));
    save({}, other);
    await environment.run(SYNC, { input: { resourceType: 'Patient', id: other } });
    await environment.run(SYNC, environment.source.remove('Patient', id));
    await environment.run(SYNC, environment.source.remove('Patient', other));
    expect(await environment.release()).toEqual([409]);
    await expectSame();
    await expectSame(other);
  });

  test('a DELETE, after the patient was restored: the reconcile bot repairs it', async () => {
    await environment.run(SYNC, save());
    holdFirst('DELETE');
    await environment.run(SYNC, environment.source.remove('Patient', id));
    await environment.run(SYNC, save({ gender: 'female' }));
    expect(await environment.release()).toEqual([200]);
    expect((await read(`Patient/${id}`)).status).toBe(410);
    expect((await environment.run('hapi-reconcile-bot', {})).error).toBeUndefined();
    await expectSame();
  });
});

describe('deactivate instead of delete', () => {
  beforeEach(() => {
    environment.variant = 'deactivate';
  });

  test('deletes nothing, is fenced, and is undone by a restore', async () => {
    await environment.run(SYNC, save({ active: true }));
    const deletion = environment.source.remove('Patient', id);
    environment.fault = (request) => (request.startsWith('PUT') ? 'hold' : undefined);
    const held = environment.run(SYNC, deletion); // tries again, and all its writes are held
    await expect
      .poll(() => environment.requests.filter((request) => request.startsWith('PUT')).length)
      .toBeGreaterThan(1);
    environment.fault = () => undefined;
    expect((await held).result).toMatchObject({ action: 'deactivated' });
    await environment.run(SYNC, save({ active: true }));
    expect([...new Set(await environment.release())]).toEqual([409]);
    expect(await carriers(id)).toMatchObject([{ active: true }]);
    expect(environment.requests.filter((request) => request.startsWith('DELETE'))).toEqual([]);
  });

  test('the reconcile bot deactivates leftovers, once', async () => {
    await environment.run(SYNC, save({ active: true }));
    environment.source.remove('Patient', id);
    for (const leftover of [1, 0]) {
      expect((await environment.run('hapi-reconcile-bot', {})).result).toMatchObject({
        counts: { leftover, failed: 0 },
      });
      expect((await read(`Patient/${id}`)).body.active).toBe(false);
    }
  });
});

describe('faults', () => {
  test('a request that hangs is given up in time, and the next one succeeds', async () => {
    let hung = 0;
    environment.fault = (request) =>
      request.startsWith('PUT') && ++hung === 1 ? 'hang' : undefined;
    expect((await environment.run(SYNC, save({ gender: 'female' }))).result).toMatchObject({
      action: 'created',
      attempts: 2,
    });
    await expectSame();
  });

  test('client credentials: a refused token is renewed once', async () => {
    environment.oauth = true;
    let count = 0;
    environment.fault = () => (++count === 2 ? '401' : undefined);
    expect((await environment.run(SYNC, save())).result).toMatchObject({
      action: 'created',
      attempts: 1,
    });
    expect(
      environment.requests.map(
        (request) => request.split(' ')[0] + (request.includes('token') ? ' token' : ''),
      ),
    ).toEqual(['POST token', 'GET', 'PUT', 'POST token', 'PUT']);
  });

  test('a server that takes no token at all is an error at once', async () => {
    environment.oauth = true;
    environment.fault = () => '401';
    expect((await environment.run(SYNC, save())).error?.message).toBe('GET Patient: HTTP 401');
    expect(environment.requests.filter((request) => request.includes('token'))).toHaveLength(2);
  });

  test.each(['lost', 'reset', '503', '429', 'html'] as const)(
    '%s on each request in turn',
    async (kind) => {
      for (let nth = 1; nth <= 2; nth++) {
        for (const event of [
          save({ gender: 'male' }),
          save({ gender: 'female' }),
          environment.source.remove('Patient', id),
        ]) {
          let count = 0;
          environment.fault = () => (++count === nth ? kind : undefined);
          expect((await environment.run(SYNC, event)).error).toBeUndefined();
          await expectSame();
        }
      }
    },
  );

  test('an id that HAPI gives itself, of digits alone, is refused: an error in codes', async () => {
    const digits = String(Date.now());
    expect((await environment.run(SYNC, save({}, digits))).error?.message).toBe(
      'PUT Patient: HTTP 400 (processing, HAPI-0960)',
    );
  });

  test('HAPI refuses the patient: an error in codes', async () => {
    const { error, log } = await environment.run(SYNC, save({ gender: 'Lovelace' as never }));
    expect(error?.message).toMatch(/^PUT Patient: HTTP 400 \(processing, HAPI-0450/);
    expect(log[0]).toMatch(`SYNC Patient/${id} failed: refused HTTP 400 processing HAPI-0450`);
  });
});

describe('hapi-reconcile-bot', () => {
  test('takes away the tags and labels that are gone, for good', async () => {
    const meta = {
      tag: [{ system: 'urn:t', code: 'a' }],
      security: [{ system: 'urn:s', code: 'R' }],
    };
    await environment.run(SYNC, save({ meta: meta as never }));
    save({ meta: { security: [{ system: 'urn:s', code: 'N' }] } as never });
    for (const differing of [1, 0]) {
      expect((await environment.run('hapi-reconcile-bot', {})).result).toMatchObject({
        counts: { differing, failed: 0 },
      });
      const there = (await read(`Patient/${id}`)).body.meta;
      expect(there?.security).toMatchObject([{ code: 'N' }]);
      expect(there?.tag).toMatchObject([{ code: 'synced' }]);
    }
  });

  test('one that HAPI refuses keeps none of the others out', async () => {
    const others = Array.from({ length: 5 }, () => randomUUID());
    others.forEach((other) => save({}, other));
    save({ gender: 'Lovelace' as never });
    const { error, log } = await environment.run('hapi-reconcile-bot', {});
    expect(error?.message).toMatch('1 resources could not be synced');
    expect(log).toContainEqual(
      expect.stringMatching(`^SYNC Patient/${id} failed: refused HTTP 400 processing HAPI-0450`),
    );
    for (const other of others) {
      await expectSame(other);
    }
  });

  test('a full comparison finds what was changed, deleted or untagged on the target', async () => {
    environment.authority = `urn:test:${id}`;
    const system = `${environment.authority}/patient-id`;
    const full = async (input: object = {}): Promise<unknown> =>
      (await environment.run('hapi-reconcile-bot', { input: { mode: 'full', ...input } })).result;
    const many = Array.from({ length: 450 }, () => randomUUID());
    many.forEach((each) => save({ gender: 'male' }, each));
    expect(await full()).toMatchObject({ complete: true, counts: { differing: 450, failed: 0 } });
    const [changed = '', gone = '', expunged = '', untagged = '', hidden = ''] = many.toReversed();
    const headers = { 'content-type': 'application/fhir+json' };
    const there = (await read(`Patient/${changed}`)).body;
    const body = JSON.stringify({ ...there, gender: 'female' });
    await fetch(`${HAPI}/Patient/${changed}`, { method: 'PUT', headers, body });
    await fetch(`${HAPI}/Patient/${hidden}`, { method: 'DELETE' });
    environment.source.remove('Patient', gone);
    environment.source.expunge('Patient', expunged);
    const unmarked = { ...(await read(`Patient/${untagged}`)).body, meta: {} };
    const whole = { ...headers, 'x-meta-snapshot-mode': 'TAG' };
    await fetch(`${HAPI}/Patient/${untagged}`, {
      method: 'PUT',
      headers: whole,
      body: JSON.stringify(unmarked),
    });
    environment.source.remove('Patient', untagged); // its identifier still says whose it was
    const copy = await stranger({ identifier: [{ system, value: changed }] });
    const counts = { differing: 2, failed: 0 };
    const dry = await full({ dryRun: true });
    expect(dry).toMatchObject({ complete: true, counts: { ...counts, leftover: 3 } });
    expect(await full()).toMatchObject({
      complete: true,
      counts: { ...counts, leftover: 3, unreadable: 1 },
    });
    const gender = (await read(`Patient/${changed}`)).body.gender;
    expect([gender, (await read(`Patient/${hidden}`)).status]).toEqual(['male', 200]);
    expect([
      (await read(`Patient/${gone}`)).status,
      (await read(`Patient/${untagged}`)).status,
    ]).toEqual([410, 410]);
    expect([
      (await read(`Patient/${expunged}`)).status,
      (await read(`Patient/${copy}`)).status,
    ]).toEqual([200, 200]);
    expect(await full()).toMatchObject({
      counts: { differing: 0, leftover: 1, unreadable: 1, failed: 0 },
    });
  });

  test('a transaction that arrives after the patients were deleted is refused', async () => {
    const other = randomUUID();
    save();
    save({}, other);
    let held = false;
    environment.fault = (request) => {
      const hold = !held && request === 'POST ';
      held ||= hold;
      return hold ? 'hold' : undefined;
    };
    // each is synced by itself then
    expect((await environment.run('hapi-reconcile-bot', {})).error).toBeUndefined();
    await expectSame(other);
    for (const patient of [id, other]) {
      await environment.run(SYNC, environment.source.remove('Patient', patient));
    }
    expect(await environment.release()).toEqual([409]);
    await expectSame();
    await expectSame(other);
  });

  test('repairs missed changes, leaves other records alone, then finds nothing', async () => {
    const [changed, deleted, restored] = [randomUUID(), randomUUID(), randomUUID()];
    for (const patient of [changed, deleted, restored]) {
      await environment.run(SYNC, save({ gender: 'male' }, patient));
    }
    save({ gender: 'female' }, changed);
    environment.source.remove('Patient', deleted);
    await environment.run(SYNC, environment.source.remove('Patient', restored));
    save({ gender: 'other' }, restored);
    save();
    const innocent = await stranger({ identifier: [{ system: 'urn:x', value: changed }] });
    const { result, error } = await environment.run('hapi-reconcile-bot', {
      input: { resourceType: 'Bot' },
    });
    expect(error).toBeUndefined();
    expect(result).toMatchObject({ complete: true, counts: { failed: 0 } });
    for (const patient of [changed, deleted, restored, id]) {
      await expectSame(patient);
    }
    expect((await read(`Patient/${innocent}`)).status).toBe(200);
    const again = await environment.run('hapi-reconcile-bot', { input: { resourceType: 'Bot' } });
    expect(again.result).toMatchObject({ counts: { differing: 0, leftover: 0 } });
  });
});

describe('any type', () => {
  beforeEach(() => {
    environment.variant = 'types';
    environment.authority = `urn:test:${id}`;
  });

  const put = (resource: object & { id: string }): object =>
    environment.source.save(resource as never);
  const reconcile = async (input: object = {}): Promise<unknown> =>
    (await environment.run('hapi-reconcile-bot', { input: { report: true, ...input } })).result;
  const NONE_LEFT = { complete: true, counts: { differing: 0, leftover: 0, failed: 0 } };

  test('a resource that HAPI always answers 500 or 400 to does not stop the others', async () => {
    const others = Array.from({ length: 5 }, () => randomUUID());
    others.forEach((other) => save({}, other));
    save({ name: [{ text: 'half an emoji: \ud83d' }] });
    const wrong = randomUUID();
    put({ resourceType: 'Observation', id: wrong, status: 'final', code: {}, valueInteger: 1.5 });
    put({ resourceType: 'Organization', id, name: 'Clinic' });
    for (let run = 0; run < 2; run++) {
      expect(await reconcile({ mode: 'full' })).toMatchObject({
        complete: true,
        counts: { failed: 2 },
      });
    }
    for (const other of others) {
      expect((await read(`Patient/${other}`)).status).toBe(200);
    }
    expect((await read(`Organization/${id}`)).status).toBe(200);
  });

  test('required references to missing resources stay logical until a full run', async () => {
    const [patient, form, response] = [randomUUID(), randomUUID(), randomUUID()];
    put({ resourceType: 'RelatedPerson', id, patient: { reference: `Patient/${patient}` } });
    const answers = { resourceType: 'QuestionnaireResponse', id: response, status: 'completed' };
    put({
      ...answers,
      questionnaire: `Questionnaire/${form}`,
      subject: { reference: `Patient/${patient}` },
    });
    expect(await reconcile()).toMatchObject({ counts: { differing: 2, failed: 0 } });
    const related = (await read(`RelatedPerson/${id}`)).body as unknown as {
      patient: { identifier: object };
    };
    expect(related.patient.identifier).toMatchObject({ value: patient });
    expect(await reconcile({ mode: 'full' })).toMatchObject(NONE_LEFT);
    save({}, patient);
    put({ resourceType: 'Questionnaire', id: form, status: 'active' });
    expect(await reconcile({ mode: 'full' })).toMatchObject({ counts: { failed: 0 } });
    expect((await read(`RelatedPerson/${id}`)).body).toMatchObject({
      patient: { reference: `Patient/${patient}` },
    });
    expect((await read(`QuestionnaireResponse/${response}`)).body).toMatchObject({
      questionnaire: `Questionnaire/${form}`,
    });
    expect(await reconcile({ mode: 'full' })).toMatchObject(NONE_LEFT);
  });

  test('types with one identifier or none are found when they are deleted', async () => {
    const composition = {
      resourceType: 'Composition',
      id,
      status: 'final',
      type: {},
      date: '2026-01-01',
      title: 'x',
    };
    await environment.run(SYNC, put(composition));
    put({
      resourceType: 'QuestionnaireResponse',
      id,
      status: 'completed',
      identifier: { value: 'x' },
    });
    expect(await reconcile()).toMatchObject({ counts: { failed: 0 } });
    environment.source.remove('Composition', id);
    environment.source.remove('QuestionnaireResponse', id);
    expect(await reconcile({ mode: 'full' })).toMatchObject({ counts: { leftover: 2, failed: 0 } });
    expect((await read(`Composition/${id}`)).status).toBe(410);
    expect((await read(`QuestionnaireResponse/${id}`)).status).toBe(410);
  });

  test('a patient that observations refer to is blocked until they are deleted', async () => {
    await environment.run(SYNC, save());
    const observations = Array.from({ length: 3 }, () => randomUUID());
    for (const observation of observations) {
      const subject = { reference: `Patient/${id}` };
      put({
        resourceType: 'Observation',
        id: observation,
        status: 'final',
        code: { text: 'x' },
        subject,
      });
    }
    await reconcile();
    const deletion = environment.source.remove('Patient', id);
    environment.requests.length = 0;
    expect((await environment.run(SYNC, deletion)).error?.message).toMatch(
      'DELETE Patient: HTTP 409',
    );
    expect(environment.requests.length).toBeLessThan(7);
    expect(await reconcile()).toMatchObject({ failures: { blocked: 1 } });
    for (const observation of observations) {
      const { body } = await read(`Observation/${observation}`);
      expect(body).toMatchObject({
        subject: { reference: `Patient/${id}` },
        meta: { versionId: '1' },
      });
      environment.source.remove('Observation', observation);
    }
    expect(await reconcile()).toMatchObject({ complete: true, counts: { failed: 0 } });
    expect((await read(`Patient/${id}`)).status).toBe(410);
  });

  test('what HAPI rewrites does not count as a difference afterwards', async () => {
    put({
      resourceType: 'Immunization',
      id,
      status: 'completed',
      vaccineCode: { text: 'x' },
      patient: { reference: `Patient/${id}` },
      education: [{ documentType: 'y', reference: 'http://example.org/leaflet' }],
      text: {
        status: 'generated',
        div: "<div xmlns='http://www.w3.org/1999/xhtml'>&#169; A&nbsp;b<br></br><!-- c -->&rarr;</div>",
      },
      meta: {
        tag: [
          { system: 'urn:t', code: 'a', display: 'A', version: '1' },
          { system: 'urn:t', code: 'a' },
        ],
        profile: ['urn:y', 'urn:y'],
      },
      extension: [{ url: 'urn:empty' }, { url: 'urn:decimal', valueDecimal: 1.1 }],
    });
    put({
      resourceType: 'DocumentReference',
      id,
      status: 'current',
      content: [
        { attachment: { url: 'Binary/1' } },
        { attachment: { url: 'https://x.example.org/a', title: 'A' } },
      ],
    });
    save({
      name: [
        {
          given: ['A', 'B', 'C'],
          _given: [null, { extension: [{ url: 'urn:x', valueString: 'y' }] }, null],
        } as never,
        {
          family: 'D',
          given: [null],
          _given: [{ extension: [{ url: 'urn:x', valueString: 'y' }] }],
        } as never,
      ],
      contained: [
        {
          resourceType: 'Organization',
          id: 'o',
          name: 'O',
          meta: { versionId: '3', tag: [{ code: 'x' }] },
        },
      ],
      managingOrganization: { reference: '#o' },
    });
    expect(await reconcile()).toMatchObject({ counts: { differing: 3, failed: 0 } });
    expect(await reconcile({ mode: 'full', dryRun: true })).toMatchObject(NONE_LEFT);
    expect((await read(`Immunization/${id}`)).body).toMatchObject({
      education: [{ reference: 'http://example.org/leaflet' }],
    });
  });

  test('an absolute reference to this Medplum is copied without its version', async () => {
    const [patient, observation] = [randomUUID(), randomUUID()];
    save({}, patient);
    await reconcile();
    const subject = { reference: `https://medplum.example.org/fhir/R4/Patient/${patient}` };
    const focus = [{ reference: `Patient/${patient}/_history/3` }];
    const event = put({
      resourceType: 'Observation',
      id: observation,
      status: 'final',
      code: { text: 'x' },
      subject,
      focus,
    });
    expect((await environment.run(SYNC, event)).result).toMatchObject({
      action: 'created',
      leftOut: 1,
    });
    const reference = `Patient/${patient}`;
    expect((await read(`Observation/${observation}`)).body).toMatchObject({
      subject: { reference },
      focus: [{ reference }],
    });
  });
});

describe('a target that lies', () => {
  test.each(['login page', 'empty 200', 'accepted', 'another resource'] as const)(
    '%s: no run succeeds, no other resource is touched, and the next run repairs',
    async (lie) => {
      const innocent = await stranger({ active: true });
      await environment.run(SYNC, save({ gender: 'male' }));
      for (const change of [
        () => save({ gender: 'female' }),
        () => environment.source.remove('Patient', id),
      ]) {
        const event = change();
        for (const nth of [1, 2]) {
          let count = 0;
          environment.fault = () => (++count === nth ? lie : undefined);
          expect((await environment.run(SYNC, event)).error).toBeDefined();
        }
        environment.fault = () => undefined;
        expect((await environment.run(SYNC, event)).error).toBeUndefined();
        await expectSame();
      }
      expect((await read(`Patient/${innocent}`)).body).toMatchObject({
        active: true,
        meta: { versionId: '1' },
      });
    },
  );
});
