// node-fetch 2 has no types of its own. Its Response differs from Node's: `body` is a Node stream,
// `buffer()` exists.
declare module 'node-fetch' {
  export default function nodeFetch(url: string | URL, options?: RequestInit): Promise<Response>;
}
