// The URL of Node, under the name that node-fetch 2 loads. It is an implementation of the same
// standard. See ../README.md.
exports.URL = globalThis.URL;
