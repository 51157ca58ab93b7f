// The rules of the linter, for `npm run lint`, for `npm run build`, and for editors. Errors are
// what fails when the code runs; style is a warning. With "strictness": "strict" in
// medplum.config.json every warning is an error.
import { defineConfig } from 'oxlint';
import { isStrict, vmcontextOverrides } from './tools/src/bundling/lint-rules.ts';

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'oxc', 'import'],
  categories: { correctness: 'warn' },
  options: { denyWarnings: isStrict() },
  ignorePatterns: ['dist', 'node_modules'],
  rules: {
    curly: 'warn',
    eqeqeq: 'warn',
    'no-nested-ternary': 'warn',
    'no-unused-vars': [
      'warn',
      { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true },
    ],
    'no-var': 'warn',
    'prefer-const': 'warn',
    'import/no-cycle': 'warn',
    'typescript/consistent-type-imports': 'warn',
    'typescript/no-explicit-any': 'warn',
    'typescript/await-thenable': 'warn',
    'typescript/only-throw-error': 'warn',
    'unicorn/no-useless-spread': 'warn',

    // A request that nothing waits for may be lost when the handler returns. The client's reads
    // return a promise of Medplum's own class, which counts as "thenable".
    'typescript/no-floating-promises': ['error', { checkThenables: true }],
    'typescript/no-misused-promises': 'error',

    'typescript/no-base-to-string': 'off',
    'typescript/restrict-template-expressions': 'off',
    'typescript/unbound-method': 'off',
  },
  overrides: [
    {
      files: ['src/**'],
      rules: {
        'typescript/no-base-to-string': 'warn',
        'no-restricted-imports': [
          'warn',
          {
            patterns: [
              {
                group: ['**/tools/**', '**/scripts/**', '**/tests/**'],
                message: 'A bundle must not carry it: move what the bot needs to src/shared.',
              },
            ],
          },
        ],
      },
    },
    {
      files: ['src/shared/**'],
      rules: {
        'no-restricted-imports': [
          'warn',
          {
            patterns: [
              {
                group: ['**/bots/**', '**/tools/**', '**/scripts/**', '**/tests/**'],
                message: 'Shared code must not import it: move what both need to src/shared.',
              },
            ],
          },
        ],
      },
    },
    {
      files: ['**/*.test.ts', '**/*.spec.ts'],
      rules: {
        'no-restricted-imports': 'off',
        'typescript/no-floating-promises': ['warn', { checkThenables: true }],
        'typescript/no-misused-promises': 'warn',
      },
    },
    ...vmcontextOverrides(),
  ],
});
