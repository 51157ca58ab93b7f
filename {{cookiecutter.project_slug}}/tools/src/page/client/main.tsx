// The page in the browser. The server bundles this folder when the page is first opened; see
// ../assets.ts.
import { render } from 'preact';
import { App } from './app.tsx';
import { connectWhileVisible } from './live.ts';

connectWhileVisible();
render(<App />, document.getElementById('app')!);
