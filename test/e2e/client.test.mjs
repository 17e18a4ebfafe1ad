// kephas-client.js in Node, against a scripted server.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { afterEach, test } from 'node:test';
import vm from 'node:vm';
import WebSocket, { WebSocketServer } from 'ws';
import DefaultExport, { KephasClient, KephasConnectionState, KephasReservedCommands }
  from '../../examples/js-chat/kephas-client.mjs';
import { Inbox, JSON_RPC, JSON_RPC_ERROR, Peer, command, freePorts, within } from './support.mjs';

const open = [];  // clients and servers of the test that runs

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.stop()));
});

/** A WebSocket server whose connections are taken one at a time; it can go away and come back on its port. */
class ScriptedServer {
  connections = new Inbox();

  static async create(port = 0) {
    const server = new ScriptedServer();
    await server.start(port);
    open.push(server);
    return server;
  }

  async start(port = this.port) {
    this.server = new WebSocketServer({ port, host: '127.0.0.1' });
    this.server.on('connection', (socket) => this.connections.push(new Peer(socket)));
    await once(this.server, 'listening');
    this.port = this.server.address().port;
    this.url = `ws://127.0.0.1:${this.port}/ws`;
  }

  async stop(code) {
    for (const socket of this.server.clients) code ? socket.close(code) : socket.terminate();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A client that reconnects quickly and writes down what it tells. */
function makeClient(url, config = {}) {
  const client = new KephasClient({ url, WebSocket, reconnectDelay: 20, ...config });
  const seen = { states: [], disconnects: new Inbox(), errors: new Inbox(), connects: new Inbox(), changes: new Inbox() };
  client.onStateChange = (state, info) => {
    seen.states.push(state);
    seen.changes.push({ state, ...info });
  };
  client.onDisconnect = (info) => seen.disconnects.push(info);
  client.onError = (error) => seen.errors.push(error);
  client.onConnect = (info) => seen.connects.push(info);
  open.push({ stop: () => client.disconnect() });
  return { client, seen };
}

async function connected(config) {
  const server = await ScriptedServer.create();
  const { client, seen } = makeClient(server.url, config);
  await client.connect();
  const peer = await server.connections.next('the connection');
  return { server, client, seen, peer };
}

const hex = (buffer) => Buffer.from(buffer).toString('hex');

// --- the script itself ---

test('the script sets its three globals and the module exports the same', () => {
  const context = vm.createContext({});
  vm.runInContext(fs.readFileSync(new URL('../../examples/js-chat/kephas-client.js', import.meta.url), 'utf8'), context);
  assert.equal(typeof context.KephasClient, 'function');
  assert.equal(context.KephasReservedCommands.JSON_RPC, 0xffffffff);
  assert.equal(context.KephasConnectionState.CLOSED, 'CLOSED');
  assert.equal(globalThis.KephasClient, KephasClient);
  assert.equal(DefaultExport, KephasClient);
  assert.deepEqual(KephasReservedCommands, { JSON_RPC: 0xffffffff, JSON_RPC_ERROR: 0xfffffffe });
  assert.deepEqual(Object.keys(KephasConnectionState),
    ['DISCONNECTED', 'CONNECTING', 'CONNECTED', 'RECONNECTING', 'CLOSED']);
});

test('the options have their documented defaults', () => {
  const { autoReconnect, reconnectDelay, maxReconnectAttempts, connectionTimeout, debug } =
    new KephasClient({ url: 'ws://localhost/ws' }).config;
  assert.deepEqual({ autoReconnect, reconnectDelay, maxReconnectAttempts, connectionTimeout, debug },
    { autoReconnect: true, reconnectDelay: 3000, maxReconnectAttempts: Infinity, connectionTimeout: 10000, debug: false });
  assert.throws(() => new KephasClient({}), /needs a url/);
});

// --- encoding ---

test('messages are encoded as a big-endian id and the payload', () => {
  const client = new KephasClient({ url: 'ws://localhost/ws' });
  assert.equal(hex(client.encode(0x01, new TextEncoder().encode('hello'))), '0000000168656c6c6f');
  assert.equal(hex(client.encode(0x01020304)), '01020304');
  assert.equal(hex(client.encode(0xffffffff, new Uint8Array([0]))), 'ffffffff00');
  assert.equal(hex(client.encode(0, new Uint8Array([1, 2, 3, 4]).subarray(1, 3))), '000000000203');
  assert.equal(hex(client.encode(7, new Uint16Array([0x4141]).buffer)), '000000074141');
  assert.equal(hex(client.encode(7, new DataView(new Uint8Array([9, 8, 7]).buffer, 1))), '000000070807');
  assert.ok(client.encode(1) instanceof ArrayBuffer);
});

test('encoding refuses ids that are not 32 bits wide and payloads that are not bytes', () => {
  const client = new KephasClient({ url: 'ws://localhost/ws' });
  for (const id of [-1, 2 ** 32, 1.5, '1', undefined, NaN]) assert.throws(() => client.encode(id), RangeError);
  assert.throws(() => client.encode(1, 'text'), /must be bytes/);
});

test('encoding leaves the payload as it was and decoding gives it back', () => {
  const client = new KephasClient({ url: 'ws://localhost/ws' });
  const payload = Uint8Array.from({ length: 256 }, (_, index) => index);
  const { commandId, payload: back } = client.decode(client.encode(0xfffffffd, payload));
  assert.equal(commandId, 0xfffffffd);
  assert.deepEqual(back, Uint8Array.from({ length: 256 }, (_, index) => index));
  assert.deepEqual(payload, back);
});

test('decoding takes views at their offset and refuses what is shorter than an id', () => {
  const client = new KephasClient({ url: 'ws://localhost/ws' });
  const bytes = new Uint8Array([0xee, 0, 0, 1, 0, 0x68, 0x69, 0xee]);
  assert.deepEqual(client.decode(bytes.subarray(1, 7)), { commandId: 0x100, payload: new Uint8Array([0x68, 0x69]) });
  assert.equal(client.decode(new Uint8Array([0, 0, 0, 5])).payload.length, 0);
  for (const length of [0, 1, 2, 3]) assert.throws(() => client.decode(new ArrayBuffer(length)), /^Error: Message too short$/);
  assert.throws(() => client.decode(undefined), /Message too short/);
});

// --- commands ---

test('reserved ids are refused for handlers and for sends', async () => {
  const { client } = await connected();
  for (const [id, name] of [[JSON_RPC, '0xFFFFFFFF'], [JSON_RPC_ERROR, '0xFFFFFFFE']]) {
    const refusal = { message: `Command ID ${name} is reserved` };
    assert.throws(() => client.on(id, () => {}), refusal);
    await assert.rejects(client.send(id), refusal);
    await assert.rejects(client.sendString(id, ''), refusal);
    await assert.rejects(client.sendJSON(id, {}), refusal);
  }
  client.on(0xfffffffd, () => {});  // the last one that belongs to the application
});

test('commands travel both ways in order, with bytes, text and JSON as payload', async () => {
  const { client, peer } = await connected();
  client.send(0x10, new Uint8Array([1, 2]));
  client.sendString(0x11, 'héllo ✓');
  client.sendJSON(0x12, { a: [1, null] });
  await client.send(0x13);
  assert.deepEqual([...(await peer.next()).bytes], [1, 2]);
  assert.equal((await peer.next()).text, 'héllo ✓');
  assert.deepEqual((await peer.next()).json, { a: [1, null] });
  assert.deepEqual(await peer.next().then(({ id, bytes }) => [id, bytes.length]), [0x13, 0]);

  const received = new Inbox();
  client.on(0x20, (payload, id) => received.push([id, new TextDecoder().decode(payload)]));
  peer.send(0x21, 'nobody listens');
  peer.send(0x20, 'hello');
  assert.deepEqual(await received.next(), [0x20, 'hello']);
  await assert.rejects(client.sendJSON(0x12, undefined), /no JSON form/);
});

test('a command may have several handlers, and each can be taken away', async () => {
  const { client, peer } = await connected();
  const calls = [];
  const done = new Inbox();
  const first = () => calls.push('first');
  client.on(1, first);
  const removeSecond = client.on(1, () => calls.push('second'));
  client.on(2, () => done.push([...calls.splice(0)]));
  const round = () => { peer.send(1); peer.send(2); return done.next(); };

  assert.deepEqual(await round(), ['first', 'second']);
  client.off(1, first);
  assert.deepEqual(await round(), ['second']);
  removeSecond();
  assert.deepEqual(await round(), []);
  client.on(1, first);
  client.on(1, () => calls.push('third'));
  client.off(1);
  assert.deepEqual(await round(), []);
});

test('what a handler throws or rejects with reaches onError, and the other handlers still run', async () => {
  const { client, peer, seen } = await connected();
  const ran = new Inbox();
  client.on(1, () => { throw new Error('thrown'); });
  client.on(1, async () => { throw new Error('rejected'); });
  client.on(1, () => ran.push(true));
  peer.send(1);
  await ran.next();
  assert.equal((await seen.errors.next()).message, 'thrown');
  assert.equal((await seen.errors.next()).message, 'rejected');
});

test('a message shorter than an id is reported and the connection lives', async () => {
  const { client, peer, seen } = await connected();
  peer.socket.send(Buffer.from([1, 2, 3]));
  assert.equal((await seen.errors.next()).message, 'Message too short');
  assert.equal(client.isConnected(), true);
});

test('the error of a command is reported with its code and data', async () => {
  const { peer, seen } = await connected();
  peer.send(JSON_RPC_ERROR, { jsonrpc: '2.0', error: { code: -32601, message: 'unknown command', data: { command: 512 } }, id: null });
  const error = await seen.errors.next();
  assert.ok(error instanceof Error);
  assert.deepEqual([error.message, error.code, error.data], ['unknown command', -32601, { command: 512 }]);
});

test('nothing can be sent without a connection', async () => {
  const { client } = makeClient('ws://127.0.0.1:9/ws');
  const refusal = { message: 'Not connected to server' };
  await assert.rejects(client.send(1), refusal);
  await assert.rejects(client.sendString(1, 'x'), refusal);
  await assert.rejects(client.sendJSON(1, {}), refusal);
  await assert.rejects(client.sendJSONRPC('m'), refusal);
  await assert.rejects(client.notify('m'), refusal);
});

// --- JSON-RPC, client to server ---

test('concurrent calls have increasing ids and each gets its own answer', async () => {
  const { client, peer } = await connected();
  const calls = Array.from({ length: 20 }, (_, index) => client.sendJSONRPC('double', { index }));
  const requests = [];
  for (let index = 0; index < 20; index += 1) {
    const { id, json } = await peer.next();
    assert.equal(id, JSON_RPC);
    assert.deepEqual([json.jsonrpc, json.method, json.params], ['2.0', 'double', { index }]);
    requests.push(json);
  }
  for (let index = 1; index < 20; index += 1) assert.ok(requests[index].id > requests[index - 1].id);
  for (const { id, params } of requests.reverse()) peer.send(JSON_RPC, { jsonrpc: '2.0', result: params.index * 2, id });
  assert.deepEqual(await Promise.all(calls), Array.from({ length: 20 }, (_, index) => index * 2));
});

test('an error answer rejects its call with code and data, on either id', async () => {
  const { client, peer } = await connected();
  for (const channel of [JSON_RPC_ERROR, JSON_RPC]) {
    const call = client.sendJSONRPC('fail', [1, 2]);
    const { json } = await peer.next();
    assert.deepEqual(json.params, [1, 2]);
    peer.send(channel, { jsonrpc: '2.0', error: { code: -32000, message: 'room is full', data: { max: 2 } }, id: json.id });
    await assert.rejects(call, (error) => error instanceof Error && error.message === 'room is full' &&
      error.code === -32000 && error.data.max === 2);
  }
});

test('answers are found in batches and in text messages too', async () => {
  const { client, peer } = await connected();
  const calls = [client.sendJSONRPC('a'), client.sendJSONRPC('b'), client.sendJSONRPC('c')];
  const ids = [(await peer.next()).json.id, (await peer.next()).json.id, (await peer.next()).json.id];
  peer.send(JSON_RPC, [{ jsonrpc: '2.0', result: 1, id: ids[1] }, { jsonrpc: '2.0', result: null, id: ids[0] }]);
  peer.socket.send(JSON.stringify({ jsonrpc: '2.0', result: 'text', id: ids[2] }));
  assert.deepEqual(await Promise.all(calls), [null, 1, 'text']);
});

test('a call times out alone, and its late answer is ignored', async () => {
  const { client, peer } = await connected();
  const slow = client.sendJSONRPC('slow', {}, { timeout: 15 });
  const patient = client.sendJSONRPC('patient', {}, { timeout: Infinity });
  const slowId = (await peer.next()).json.id;
  const patientId = (await peer.next()).json.id;
  await assert.rejects(slow, { message: 'JSON-RPC request timeout' });
  peer.send(JSON_RPC, { jsonrpc: '2.0', result: 'late', id: slowId });
  peer.send(JSON_RPC, { jsonrpc: '2.0', result: 'right', id: patientId });
  assert.equal(await patient, 'right');
});

test('calls under way are rejected when the connection ends', async () => {
  const { client, peer } = await connected();
  const calls = [client.sendJSONRPC('a'), client.sendJSONRPC('b')];
  await peer.next();
  peer.socket.terminate();
  for (const call of calls) await assert.rejects(call, { message: 'Connection closed' });

  await client.connect();
  const other = client.sendJSONRPC('c');
  client.disconnect();
  await assert.rejects(other, { message: 'Connection closed' });
});

test('a notification has no id', async () => {
  const { client, peer } = await connected();
  await client.notify('typing', { on: true });
  const { id, json } = await peer.next();
  assert.equal(id, JSON_RPC);
  assert.deepEqual(json, { jsonrpc: '2.0', method: 'typing', params: { on: true } });
});

// --- JSON-RPC, server to client ---

test("the server's calls are answered with what the handler returns", async () => {
  const { client, peer } = await connected();
  client.onRequest('sum', async ({ a, b }) => a + b);
  client.onRequest('nothing', () => {});
  peer.send(JSON_RPC, { jsonrpc: '2.0', method: 'sum', params: { a: 2, b: 3 }, id: 'x' });
  let answer = await peer.next();
  assert.deepEqual([answer.id, answer.json], [JSON_RPC, { jsonrpc: '2.0', result: 5, id: 'x' }]);
  peer.send(JSON_RPC, { jsonrpc: '2.0', method: 'nothing', id: 0 });
  answer = await peer.next();
  assert.deepEqual(answer.json, { jsonrpc: '2.0', result: null, id: 0 });
});

test("errors of the server's calls go out on the error id", async () => {
  const { client, peer, seen } = await connected();
  client.onRequest('coded', () => { throw Object.assign(new Error('not now'), { code: 7, data: 'later' }); });
  client.onRequest('broken', () => { throw new TypeError('a detail of ours'); });

  const call = async (method) => {
    peer.send(JSON_RPC, { jsonrpc: '2.0', method, id: 1 });
    const { id, json } = await peer.next();
    assert.equal(id, JSON_RPC_ERROR);
    return json.error;
  };
  assert.deepEqual(await call('unknown'), { code: -32601, message: 'Method not found' });
  assert.deepEqual(await call('coded'), { code: 7, message: 'not now', data: 'later' });
  assert.deepEqual(await call('broken'), { code: -32603, message: 'Internal error' });
  assert.equal((await seen.errors.next()).message, 'a detail of ours');
  client.onRequest('coded', null);
  assert.equal((await call('coded')).code, -32601);
});

test("the server's notifications are handled and never answered, its batches by one message", async () => {
  const { client, peer } = await connected();
  const noted = new Inbox();
  client.onRequest('note', (params) => noted.push(params));
  client.onRequest('one', () => 1);
  peer.send(JSON_RPC, { jsonrpc: '2.0', method: 'note', params: ['a'] });
  peer.send(JSON_RPC, { jsonrpc: '2.0', method: 'no such method' });
  assert.deepEqual(await noted.next(), ['a']);
  peer.send(JSON_RPC, [
    { jsonrpc: '2.0', method: 'one', id: 1 },
    { jsonrpc: '2.0', method: 'note', params: ['b'] },
    { jsonrpc: '2.0', method: 'other', id: 2 },
  ]);
  const { id, json } = await peer.next();  // the first thing that is sent at all
  assert.equal(id, JSON_RPC);
  assert.deepEqual(json, [
    { jsonrpc: '2.0', result: 1, id: 1 },
    { jsonrpc: '2.0', error: { code: -32601, message: 'Method not found' }, id: 2 },
  ]);
});

test('what is not JSON-RPC on its id is reported', async () => {
  const { client, peer, seen } = await connected();
  for (const payload of ['{', '3', 'null']) {
    peer.send(JSON_RPC, payload);
    assert.equal((await seen.errors.next()).message, 'Invalid JSON-RPC message');
  }
  assert.equal(client.isConnected(), true);
});

// --- connecting ---

test('connect resolves when the connection is open, and one attempt serves all callers', async () => {
  const server = await ScriptedServer.create();
  const { client, seen } = makeClient(server.url);
  assert.equal(client.getState(), 'DISCONNECTED');
  const first = client.connect();
  assert.equal(client.getState(), 'CONNECTING');
  assert.equal(client.connect(), first);
  await first;
  await client.connect();
  assert.equal(client.isConnected(), true);
  assert.deepEqual(seen.states, ['CONNECTING', 'CONNECTED']);
  assert.deepEqual(await seen.connects.next(), { reconnected: false });
  assert.equal(server.server.clients.size, 1);
});

test('a refused connection rejects with its reason and is not tried again', async () => {
  const [port] = await freePorts(1);
  const { client, seen } = makeClient(`ws://127.0.0.1:${port}/ws`);
  await assert.rejects(client.connect(), /^Error: Connection failed: .*ECONNREFUSED/);
  assert.deepEqual(seen.states, ['CONNECTING', 'DISCONNECTED']);
  assert.match((await seen.errors.next()).message, /^Connection failed/);
});

test('a bad address and a missing implementation reject too', async () => {
  await assert.rejects(makeClient('not an address').client.connect(), /^Error: Connection failed: /);
  const { client } = makeClient('ws://127.0.0.1:9/ws', { WebSocket: undefined });
  const global = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    await assert.rejects(client.connect(), /no WebSocket implementation/);
  } finally {
    globalThis.WebSocket = global;
  }
});

test('a server that does not answer the handshake ends the attempt after the timeout', async () => {
  const silent = net.createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const sockets = [];
  silent.on('connection', (socket) => sockets.push(socket));
  open.push({ stop: () => { sockets.forEach((socket) => socket.destroy()); silent.close(); } });
  const { client, seen } = makeClient(`ws://127.0.0.1:${silent.address().port}/ws`, { connectionTimeout: 30 });
  await assert.rejects(client.connect(), { message: 'Connection timeout' });
  assert.equal(client.getState(), 'DISCONNECTED');
  assert.equal((await seen.errors.next()).message, 'Connection timeout');
});

test('disconnect closes with 1000 "Client disconnect" and stays closed', async () => {
  const { client, peer, seen } = await connected();
  client.disconnect();
  assert.equal(client.getState(), 'CLOSED');
  assert.deepEqual(await seen.disconnects.next(), { code: 1000, reason: 'Client disconnect', willReconnect: false, delay: 0 });
  assert.deepEqual(await within(peer.closed, 'the close'), { code: 1000, reason: 'Client disconnect' });
  client.disconnect();
  assert.deepEqual(seen.states, ['CONNECTING', 'CONNECTED', 'CLOSED']);
  await client.connect();  // a new beginning
  assert.equal(client.isConnected(), true);
});

test('disconnect during an attempt rejects it', async () => {
  const server = await ScriptedServer.create();
  const { client, seen } = makeClient(server.url);
  const attempt = client.connect();
  client.disconnect();
  await assert.rejects(attempt, { message: 'Connection failed: Client disconnect' });
  assert.deepEqual(seen.states, ['CONNECTING', 'CLOSED']);
});

// --- reconnecting ---

test('the close code decides whether a client comes back', () => {
  const comesBack = [1001, 1005, 1006, 1011, 1012, 1013, 1014, 3000, 3008, 3499, 4000, 4499];
  const staysAway = [1000, 1002, 1003, 1004, 1007, 1008, 1009, 1010, 1015, 2999, 3500, 3999, 4500, 4999];
  assert.deepEqual(comesBack.filter(KephasClient.mayReconnect), comesBack);
  assert.deepEqual(staysAway.filter(KephasClient.mayReconnect), []);
});

test('the delay grows to five times its base and keeps between half and all of it', () => {
  const factors = [1, 2, 3, 4, 5, 5, 5];
  factors.forEach((factor, index) => {
    assert.equal(KephasClient.backoffDelay(index + 1, 3000, () => 0), 1500 * factor);
    assert.equal(KephasClient.backoffDelay(index + 1, 3000, () => 1), 3000 * factor);
    const delays = Array.from({ length: 200 }, () => KephasClient.backoffDelay(index + 1, 3000));
    assert.ok(delays.every((delay) => delay >= 1500 * factor && delay <= 3000 * factor));
    assert.ok(new Set(delays).size > 100);
  });
});

for (const code of [1001, 1011, 1012, 1013, 3008]) {
  test(`a client comes back after ${code}`, async () => {
    const { server, client, peer, seen } = await connected();
    const back = new Promise((resolve) => { client.onReconnect = resolve; });
    peer.socket.close(code, 'see you');
    const { delay, ...info } = await seen.disconnects.next();
    assert.deepEqual(info, { code, reason: 'see you', willReconnect: true });
    assert.ok(delay >= 10 && delay <= 20, `delay ${delay}`);
    await server.connections.next('the client to come back');
    assert.deepEqual(await within(back, 'onReconnect'), { attempts: 1 });
    assert.deepEqual(seen.states, ['CONNECTING', 'CONNECTED', 'RECONNECTING', 'CONNECTING', 'CONNECTED']);
    assert.deepEqual([await seen.connects.next(), await seen.connects.next()], [{ reconnected: false }, { reconnected: true }]);
  });
}

for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 3500]) {
  test(`a client stays away after ${code}`, async () => {
    const { client, peer, seen } = await connected();
    peer.socket.close(code, 'Rate limit exceeded');
    assert.deepEqual(await seen.disconnects.next(), { code, reason: 'Rate limit exceeded', willReconnect: false, delay: 0 });
    assert.equal(client.getState(), 'CLOSED');  // no timer is set in this state
    await assert.rejects(client.send(1), { message: 'Not connected to server' });
  });
}

test('a client that may not reconnect by itself stays disconnected', async () => {
  const { client, peer, seen } = await connected({ autoReconnect: false });
  peer.socket.close(1001);
  assert.equal((await seen.disconnects.next()).willReconnect, false);
  assert.equal(client.getState(), 'DISCONNECTED');
});

test('a restarted server is found again, with handlers in place and the attempts counted', async () => {
  const { server, client, peer, seen } = await connected();
  const heard = new Inbox();
  client.on(5, (payload) => heard.push(new TextDecoder().decode(payload)));
  await server.stop(1001);
  assert.deepEqual(await within(peer.closed, 'the close').then(({ code }) => code), 1001);

  const waits = [];
  while (waits.length < 4) {  // some attempts fail while the server is away
    const change = await seen.changes.next('another attempt');
    if (change.state === 'RECONNECTING') waits.push(change);
  }
  waits.forEach(({ attempt, delay }, index) => {
    assert.equal(attempt, index + 1);
    assert.ok(delay >= 10 * attempt && delay <= 20 * attempt, `attempt ${attempt} after ${delay} ms`);
  });

  await server.start();
  const again = await server.connections.next('the client to come back');
  again.send(5, 'welcome back');
  assert.equal(await heard.next(), 'welcome back');

  again.socket.terminate();  // the count has started anew
  const { delay, code } = await seen.disconnects.next().then(() => seen.disconnects.next());
  assert.equal(code, 1006);
  assert.ok(delay >= 10 && delay <= 20, `delay ${delay}`);
});

test('after the last attempt the client is closed', async () => {
  const { server, client, seen } = await connected({ maxReconnectAttempts: 2 });
  await server.stop();
  for (let failures = 0; failures < 2; failures += 1) {
    assert.match((await seen.errors.next('a failed attempt')).message, /^Connection failed/);
  }
  assert.equal(client.getState(), 'CLOSED');
  assert.deepEqual(seen.states.filter((state) => state === 'RECONNECTING').length, 2);
});

test('connect does not wait for the next attempt', async () => {
  const { client, peer, seen } = await connected({ reconnectDelay: 3_600_000 });
  peer.socket.close(1012);
  assert.equal((await seen.disconnects.next()).willReconnect, true);
  assert.equal(client.getState(), 'RECONNECTING');
  await within(client.connect(), 'the connection');
  assert.equal(client.isConnected(), true);
  assert.deepEqual([await seen.connects.next(), await seen.connects.next()], [{ reconnected: false }, { reconnected: true }]);
});

test('disconnect ends the wait for the next attempt', async () => {
  const { client, peer, seen } = await connected({ reconnectDelay: 3_600_000 });
  peer.socket.close(1012);
  await seen.disconnects.next();
  client.disconnect();  // the timer would keep this process alive
  assert.equal(client.getState(), 'CLOSED');
});
