import { firstName } from './names';

test('a patient without a name', () => {
  expect(firstName({ resourceType: 'Patient' })).toBe('friend');
});
