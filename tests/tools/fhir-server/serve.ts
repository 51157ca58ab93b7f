// An external FHIR server for tests in Python: prints its address, and ends with its standard
// input.
import { startFhirServer } from '../../tools/src/fhir-server/server.ts';

const server = await startFhirServer();
console.log(server.baseUrl);
process.stdin.resume().once('end', () => process.exit(0));
