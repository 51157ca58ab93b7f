process.env.TZ = 'UTC';

beforeEach(() => {
  vi.spyOn(console, 'log').mockImplementation(() => undefined);
});
