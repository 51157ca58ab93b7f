import { faxNumber } from '../lib/fax';

test('keeps digits', () => {
  expect(faxNumber('+1 (555) 01')).toBe('+155501');
});
