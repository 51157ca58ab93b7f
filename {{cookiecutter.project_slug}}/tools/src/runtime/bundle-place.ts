// Where the runtimes put a bundle: what stack traces name, and how far its lines are moved.

/** The name of the bundle's file on Lambda. */
export const LAMBDA_FILE = 'user.cjs';

/**
 * Lines that the server puts before the bundle on vmcontext, and columns before the bundle's first
 * line.
 */
export const LINES_BEFORE_BUNDLE = 5;
export const COLUMNS_BEFORE_BUNDLE = 2;
