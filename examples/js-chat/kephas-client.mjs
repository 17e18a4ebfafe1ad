// The client as an ES module. The script sets its globals here too.
import './kephas-client.js';

export const { KephasClient, KephasReservedCommands, KephasConnectionState } = globalThis;
export default KephasClient;
