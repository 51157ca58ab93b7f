// A local Medplum server for the replay of recordings: prints its address, and runs until its
// standard input ends.
import { startMedplumServer } from '../../tools/src/medplum/server.ts';

const server = await startMedplumServer();
console.log(server.baseUrl);
process.stdin.resume().once('end', () => void server.stop());
