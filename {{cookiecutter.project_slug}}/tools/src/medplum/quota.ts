// Medplum's quota: points that each membership may spend a minute. Off unless `--quota` is given.
import * as core from '@medplum/core';

const WINDOW_MILLISECONDS = 60_000;

interface Account {
  spent: number;
  /** When the account is empty again. */
  resetsAt: number;
}

/**
 * Counts points by membership and answers 429 when they are spent.
 *
 * On 5.1.26 each request of a blocked membership starts its minute again, so that asking every few
 * seconds stays blocked; since 5.1.28 the block ends a minute after it began.
 */
export class QuotaLimiter {
  private readonly points: number;
  private readonly renewsBlock: boolean;
  private readonly accounts = new Map<string, Account>();

  constructor(points: number, renewsBlock: boolean) {
    this.points = points;
    this.renewsBlock = renewsBlock;
  }

  /** @throws OperationOutcomeError (429) where the membership has no points left */
  consume(membershipId: string, points: number): void {
    const now = Date.now();
    let account = this.accounts.get(membershipId);
    if (!account || account.resetsAt <= now) {
      account = { spent: 0, resetsAt: now + WINDOW_MILLISECONDS };
      this.accounts.set(membershipId, account);
    }
    const wasBlocked = account.spent > this.points;
    account.spent += points;
    if (account.spent <= this.points) {
      return;
    }
    if (wasBlocked && this.renewsBlock) {
      account.resetsAt = now + WINDOW_MILLISECONDS;
    }
    throw new core.OperationOutcomeError(this.tooManyRequests(account, now));
  }

  private tooManyRequests({ spent, resetsAt }: Account, now: number): typeof core.tooManyRequests {
    const diagnostics = JSON.stringify({
      _remainingPoints: 0,
      _msBeforeNext: resetsAt - now,
      _consumedPoints: spent,
      _isFirstInDuration: false,
      limit: this.points,
    });
    const [issue] = core.tooManyRequests.issue;
    return { ...core.tooManyRequests, issue: [{ ...issue!, diagnostics }] };
  }
}
