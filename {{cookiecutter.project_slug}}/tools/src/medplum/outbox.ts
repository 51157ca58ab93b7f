// E-mails that bots sent with medplum.sendEmail: kept, not sent, to be looked at on the page or in
// a test.
import { EventEmitter } from 'node:events';

/** Older ones are forgotten. */
const EMAILS_KEPT = 100;

export interface Email {
  sentAt: Date;
  /** As the caller gave them: addresses, or objects with name and address. */
  to: unknown;
  subject: string;
  /** All that was given: from, cc, bcc, text, html, attachments … */
  options: Record<string, unknown>;
}

export class Outbox extends EventEmitter<{ sent: [Email] }> {
  private readonly emails: Email[] = [];

  add(email: Email): void {
    this.emails.unshift(email);
    this.emails.length = Math.min(this.emails.length, EMAILS_KEPT);
    this.emit('sent', email);
  }

  /** @returns the e-mails, newest first */
  list(): readonly Email[] {
    return this.emails;
  }
}
