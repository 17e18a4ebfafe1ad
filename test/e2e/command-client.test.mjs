// The C++ client against the server of the ws package: the wire protocol as somebody else speaks it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import readline from 'node:readline';
import { test } from 'node:test';
import { WebSocketServer } from 'ws';
import { Inbox, command, within } from './support.mjs';

const WELCOME = 1, LEFT = 2, SIGN_IN = 0x100;
const program = process.env.KEPHAS_COMMAND_CLIENT;
const options = program ? {} : { skip: 'KEPHAS_COMMAND_CLIENT is not set' };

/** Answers what the client asks, and lets the test have the connections and what was said. */
async function serve() {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws' });
  await once(server, 'listening');
  const connections = new Inbox(), names = new Inbox();
  server.on('connection', (socket) => {
    socket.on('message', (data, binary) => {
      if (!binary) {
        const { id, method, params } = JSON.parse(data);
        assert.equal(method, 'math.add');
        socket.send(JSON.stringify({ jsonrpc: '2.0', id, result: params[0] + params[1] }));
        return;
      }
      assert.equal(data.readUInt32BE(0), SIGN_IN);
      names.push(data.subarray(4).toString());
      // in fragments, with a ping between them
      const reply = command(SIGN_IN, `hello ${data.subarray(4)}`);
      socket.send(reply.subarray(0, 3), { fin: false, binary: true });
      socket.ping('between');
      socket.send(reply.subarray(3, 6), { fin: false });
      socket.send(reply.subarray(6), { fin: true });
    });
    connections.push(socket);
  });
  return { server, connections, names, url: `ws://127.0.0.1:${server.address().port}/ws` };
}

test('the C++ client calls, is answered in fragments, comes back after 1012 and stays away after 4999', options, async () => {
  const { server, connections, names, url } = await serve();
  const client = spawn(program, [url], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const lines = new Inbox();
    readline.createInterface({ input: client.stdout }).on('line', (line) => lines.push(line));
    const expect = async (line) => assert.equal(await lines.next(line), line);

    const first = await connections.next('the connection');
    await expect('now connecting');
    await expect('now connected');
    await expect('1 + 2.5 = 3.5');
    await expect('signed in: hello ada');
    const [pong] = await within(once((first.ping('are you there'), first), 'pong'), 'the pong');
    assert.ok(['between', 'are you there'].includes(pong.toString()));
    first.send(command(LEFT, 'x'.repeat(70_000)));
    await expect('x'.repeat(70_000));

    client.stdin.write('grace\n');
    await expect('signed in: hello grace');
    first.close(1012, 'back soon');
    const [code] = await within(once(first, 'close'), 'the close');
    assert.equal(code, 1012);
    await expect('now reconnecting');
    const second = await connections.next('the second connection');
    await expect('signed in again: hello again');
    await expect('now connected');
    for (const name of ['ada', 'grace', 'again']) assert.equal(await names.next(), name);

    second.terminate();
    await expect('now reconnecting');
    const third = await connections.next('the third connection');
    await expect('signed in again: hello again');
    await expect('now connected');

    third.close(4999, 'for good');
    await expect('now closed');
    await expect('closed with 4999');
    const [status] = await within(once(client, 'exit'), 'the end');
    assert.equal(status, 0);
  } finally {
    client.kill('SIGKILL');
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

test('a handshake that a foreign server refuses is an error with its status', options, async () => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, verifyClient: (info, answer) => answer(false, 401) });
  await once(server, 'listening');
  const client = spawn(program, [`ws://127.0.0.1:${server.address().port}/ws`], { stdio: ['pipe', 'ignore', 'pipe'] });
  try {
    let said = '';
    client.stderr.on('data', (data) => (said += data));
    const [status] = await within(once(client, 'close'), 'the end');
    assert.equal(status, 1);
    assert.match(said, /HTTP status 401/);
  } finally {
    client.kill('SIGKILL');
    server.close();
  }
});
