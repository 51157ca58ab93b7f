// An error that the page shows to the user.
import type { ContentfulStatusCode } from 'hono/utils/http-status';

/** The message says in one line what is wrong and what to do. */
export class PageError extends Error {
  readonly status: ContentfulStatusCode;

  constructor(status: ContentfulStatusCode, message: string) {
    super(message);
    this.name = 'PageError';
    this.status = status;
  }
}
