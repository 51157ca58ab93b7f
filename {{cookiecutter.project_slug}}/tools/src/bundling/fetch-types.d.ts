// As the types of browsers have it, and most bots expect it: the JSON of an answer may be anything.
// Node's types say `unknown`, which makes every use of it an error.
declare global {
  interface Response {
    json(): Promise<any>; // eslint-disable-line typescript/no-explicit-any
  }
}
export {};
