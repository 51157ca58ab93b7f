// What the browser loads: the document, its style and its script. The script is bundled when it is
// first asked for.
import { build } from 'esbuild';
import type { Hono } from 'hono';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const HERE = import.meta.dirname;

/**
 * The page loads nothing from other hosts, runs no inline script and cannot be framed by another
 * site.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export function addAssets(app: Hono): void {
  let script: Promise<string> | undefined;

  app.get('/', (c) => {
    c.header('Content-Security-Policy', CONTENT_SECURITY_POLICY);
    c.header('Referrer-Policy', 'no-referrer');
    c.header('X-Content-Type-Options', 'nosniff');
    return c.html(readFileSync(join(HERE, 'page.html'), 'utf8'));
  });
  app.get('/_local/page.css', (c) => {
    return c.body(readFileSync(join(HERE, 'page.css'), 'utf8'), 200, {
      'Content-Type': 'text/css; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
  app.get('/_local/page.js', async (c) => {
    script ??= bundleClient();
    return c.body(await script, 200, {
      'Content-Type': 'text/javascript; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
}

/** @returns the text of one module with all of client/ and preact in it */
async function bundleClient(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(HERE, 'client', 'main.tsx')],
    bundle: true,
    write: false,
    format: 'esm',
    target: 'es2023',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    sourcemap: 'inline',
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}
