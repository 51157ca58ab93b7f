// The error that ends a command with one line instead of a stack trace.

/** An error the user can fix. Its message says in one line what is wrong, where, and what to do. */
export class UserError extends Error {
  override name = 'UserError';
}
