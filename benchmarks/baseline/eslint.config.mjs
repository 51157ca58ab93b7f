// Type-aware linting as typescript-eslint's own guide begins with; a leading underscore marks what
// is left out.
import tseslint from 'typescript-eslint';

export default tseslint.config(tseslint.configs.recommendedTypeChecked, {
  languageOptions: { parserOptions: { projectService: true } },
  rules: {
    // TypeScript 7 needs an assertion that this rule calls unnecessary.
    '@typescript-eslint/no-unnecessary-type-assertion': 'warn',
    '@typescript-eslint/no-unused-vars': [
      'error',
      { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
    ],
  },
});
