// kephas-bench with a server that is not ours, the ws package's: it measures what is right, and notices what is not.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { test } from 'node:test';
import { WebSocketServer } from 'ws';
import { within } from './support.mjs';

const binary = process.env.KEPHAS_BENCH;
const options = { skip: binary ? false : 'KEPHAS_BENCH does not name the program', timeout: 60_000 };

/** Runs the program against a server whose answer to a message is `echo(socket, data, isBinary, count)`. */
async function measured(echo, args, settings = {}) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false, ...settings });
  await within(once(server, 'listening'), 'the server to listen');
  let count = 0;
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.on('message', (data, isBinary) => echo(socket, data, isBinary, ++count));
  });
  const url = `ws://localhost:${server.address().port}/any/path?query`;
  const child = spawn(path.resolve(binary), [url, '--pid', String(process.pid), '--json', ...args]);
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].on('data', (data) => { output[name] += data; });
  try {
    const [code] = await within(once(child, 'close'), 'the program to end', 30_000);
    return { code, ...output, report: code === 0 ? JSON.parse(output.stdout) : undefined };
  } finally {
    child.kill('SIGKILL');
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
}

const plain = (socket, data, binary) => socket.send(data, { binary });

test('a closed loop', options, async () => {
  const { code, report, stderr } = await measured(plain,
    ['--connections', '7', '--depth', '4', '--messages', '2000', '--threads', '2', '--verify']);
  assert.equal(code, 0, stderr);
  assert.equal(report.loop, 'closed');
  assert.equal(report.messages, 2000);
  assert.equal(report.clean_closes, 7);
  assert.ok(report.server_cpu_us_per_message > 0);
  assert.ok(report.server_resident_bytes > 10_000_000);
  assert.ok(report.p50_us > 0 && report.p50_us <= report.p99_us && report.p99_us <= report.p999_us && report.p999_us <= report.max_us);
});

test('an open loop of text', options, async () => {
  const { code, report, stderr } = await measured(plain,
    ['--connections', '5', '--rate', '1000', '--seconds', '0.3', '--warmup', '0.05', '--text', '--size', '3000', '--verify']);
  assert.equal(code, 0, stderr);
  assert.equal(report.loop, 'open');
  assert.equal(report.messages, 300);
});

test('connections that come and go, each with the handshake of a browser and a message of its own', options, async () => {
  const heads = [];
  const messages = new Set();
  const { code, report, stderr } = await measured((socket, data, binary) => {
    messages.add(data.toString());
    plain(socket, data, binary);
  }, ['--reconnect', '--connections', '9', '--threads', '2', '--messages', '500', '--verify'],
  { verifyClient: ({ req }) => heads.push(req.headers) });
  assert.equal(code, 0, stderr);
  assert.equal(report.loop, 'reconnect');
  assert.equal(report.messages, 500);
  assert.equal(report.clean_closes, 500);
  assert.ok(report.server_cpu_us_per_message > 0);
  assert.equal(heads.length, 502, 'one more for each thread, that is not counted');
  assert.equal(messages.size, 502);
  assert.ok(new Set(heads.map((head) => head['sec-websocket-key'])).size > 10);
  assert.match(heads[0].origin, /^http:\/\/localhost:\d+$/);
  assert.match(heads[0]['user-agent'], /Chrome/);
  assert.equal(heads[0]['sec-websocket-extensions'], 'permessage-deflate; client_max_window_bits');
});

test('a connection that is refused, compressed, dropped or reset instead of ended is an error', options, async () => {
  const load = ['--reconnect', '--connections', '3', '--messages', '100', '--verify'];
  const reset = (socket) => socket._socket.resetAndDestroy();
  let requests = 0;
  const wrong = [
    [plain, { verifyClient: () => ++requests < 20 }, /refused: HTTP\/1.1 401/],
    [plain, { perMessageDeflate: true }, /agrees on permessage-deflate/],
    [(socket, data, binary, count) => (count === 20 ? socket.terminate() : plain(socket, data, binary)), {}, /connection \d+: ended by the server/],
    [(socket, data, binary, count) => (count === 20 ? socket.close(1013) : plain(socket, data, binary)), {}, /connection \d+: closed by the server, code 1013/],
    [(socket, data, binary, count) => plain(socket, count === 20 ? Buffer.alloc(32) : data, binary), {}, /differs at byte 8/],
    [(socket, data, binary, count) => {
      plain(socket, data, binary);
      if (count === 20) socket._receiver.on('conclude', () => reset(socket));
    }, {}, /reset by the server|without a close frame/],
  ];
  for (const [echo, settings, complaint] of wrong) {
    const { code, stderr, stdout } = await measured(echo, load, settings);
    assert.equal(code, 1, String(complaint));
    assert.match(stderr, complaint);
    assert.equal(stdout, '');
  }
});

test('calls, answered out of order and in another shape each time', options, async () => {
  const shapes = [
    (id, result) => JSON.stringify({ jsonrpc: '2.0', id, result }),
    (id, result) => JSON.stringify({ result, id, jsonrpc: '2.0' }, null, 2),
    (id, result) => `{"jsonrpc":"2.0","result":${result}.0,"extra":[{"id":1}],"id":${id}}`,
  ];
  const add = (change = (value) => value) => {
    let held;
    return (socket, data, binary, count) => {
      const { id, method, params, jsonrpc } = JSON.parse(data);
      assert.deepEqual([method, jsonrpc, binary], ['math.add', '2.0', false]);
      const reply = shapes[count % 3](id, change(params[0] + params[1], count));
      if (count % 2 === 1) held = reply;
      else for (const each of [reply, held]) socket.send(each);
    };
  };
  const load = ['--connections', '1', '--depth', '2', '--messages', '600', '--call', 'math.add', '--params', '[2,40]', '--expect', '42', '--verify'];
  const { code, report, stderr } = await measured(add(), load);
  assert.equal(code, 0, stderr);
  assert.equal(report.messages, 600);
  assert.equal(report.verify, 'results');
  const wrong = await measured(add((value, count) => (count === 301 ? 41 : value)), load);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /expected the result 42; came 41/);
});

test('a pause shows in every message that was due during it', options, async () => {
  const pause = 200;
  const { code, report, stderr } = await measured((socket, data, binary, count) => {
    if (count === 100) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
    plain(socket, data, binary);
  }, ['--connections', '5', '--rate', '1000', '--seconds', '1', '--warmup', '0']);
  assert.equal(code, 0, stderr);
  assert.equal(report.messages, 1000);
  assert.ok(report.max_us > (pause - 20) * 1000);
  assert.ok(report.p90_us > 50_000, `200 of 1000 were due in the pause, and the p90 is ${report.p90_us}`);
});

test('echoes in fragments, with pings between them', options, async () => {
  const { code, report, stderr } = await measured((socket, data, binary) => {
    socket.send(data.subarray(0, 3), { binary, fin: false });
    socket.ping('are you there');
    socket.send(data.subarray(3, 11), { binary, fin: false });
    socket.send(data.subarray(11), { binary, fin: true });
  }, ['--connections', '3', '--messages', '300', '--verify']);
  assert.equal(code, 0, stderr);
  assert.equal(report.messages, 300);
});

test('replies that overtake each other are an error, unless their order does not matter', options, async () => {
  const swapping = () => {
    let held;
    return (socket, data, binary, count) => {
      if (count % 2 === 1) held = data;
      else for (const each of [data, held]) plain(socket, each, binary);
    };
  };
  const load = ['--connections', '1', '--depth', '2', '--messages', '100'];
  const strict = await measured(swapping(), [...load, '--verify']);
  assert.equal(strict.code, 1);
  assert.match(strict.stderr, /connection 0: expected the echo of message 0; came that of message 1, out of order/);
  for (const mode of [['--verify', '--unordered'], []]) {
    const { code, report, stderr } = await measured(swapping(), [...load, ...mode]);
    assert.equal(code, 0, stderr);
    assert.equal(report.messages, 100);
  }
});

test('one wrong byte, one byte less, one reply twice, a close', options, async () => {
  const wrong = [
    [(data) => [Object.assign(Buffer.from(data), { 77: data[77] ^ 1 })], /differs at byte 77: .*expected ".*"; came ".*"/],
    [(data) => [data.subarray(1)], /expected a binary message, 100 bytes; came a binary message, 99 bytes/],
    [(data) => [data, data], /once more|that nothing asked for|out of order|expected the echo/],
  ];
  const load = ['--connections', '2', '--size', '100', '--messages', '200', '--verify'];
  for (const [change, complaint] of wrong) {
    const { code, stderr, stdout } = await measured((socket, data, binary, count) => {
      for (const each of count === 99 ? change(data) : [data]) plain(socket, each, binary);
    }, load);
    assert.equal(code, 1);
    assert.match(stderr, complaint);
    assert.equal(stdout, '');
  }
  const closed = await measured((socket, data, binary, count) => {
    if (count === 99) socket.close(1008, 'no more');
    else plain(socket, data, binary);
  }, load);
  assert.equal(closed.code, 1);
  assert.match(closed.stderr, /closed by the server, code 1008 "no more"/);
});
