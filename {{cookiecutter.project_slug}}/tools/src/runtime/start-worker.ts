// What a thread loads first. Node then keeps the rest of the thread's code compiled, which it does
// not do by itself in a thread: the next threads start in less time.
import useCompileCache from '../../bin/compile-cache.cjs';

useCompileCache();
await import('./worker.ts');
