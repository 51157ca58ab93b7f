import { handler } from './welcome-patient';

describe('welcome-patient', () => {
  it('counts letters', async () => {
    const event = { input: { resourceType: 'Patient', name: [{ given: ['Ada'] }] } } as any;
    expect(await handler({} as any, event)).toEqual({ length: 11 });
  });
});
