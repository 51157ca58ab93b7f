// How long, how much and how often: a server that never ends an answer must not hold a command up,
// or fill the memory.

export interface Limits {
  /**
   * For one request with all its repetitions, without the time that the server asked us to wait.
   */
  milliseconds: number;
  /** How many seconds a server can make one request wait, in all. */
  wait: number;
  /** Of one answer. */
  bytes: number;
  /** Values in the JSON of one answer. */
  values: number;
  /** Of one search. */
  pages: number;
}

export const LIMITS: Limits = {
  // `$deploy` waits for AWS, and gateways usually end a request after 60 seconds.
  milliseconds: 110_000,
  // Medplum's quota is renewed after a minute: the second time, it is there.
  wait: 120,
  bytes: 32 * 1024 * 1024,
  // About 100 bytes of memory each. A page of 1,000 bots has less than 100,000.
  values: 1_000_000,
  // Of 1,000 resources each.
  pages: 50,
};
