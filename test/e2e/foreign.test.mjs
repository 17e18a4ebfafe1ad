// The ws package as a foreign client of the chat server: the wire protocol as somebody else reads it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { ChatServer, JSON_RPC, JSON_RPC_ERROR, connect, needsServer, within } from './support.mjs';

const CHAT = 1, JOINED = 3, LEFT = 4, GET_USERS = 5, USERS = 6, USER_INFO = 8;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}(Z|[+-]\d\d:\d\d)$/;

let server;
before(async () => {
  if (!needsServer.skip) server = await ChatServer.create();
});
after(async () => {
  if (server) assert.equal(await server.stop(), 0);
});

const check = (name, run) => test(name, needsServer, run);

/** The next arrival or departure of that user; whoever leaves late from an earlier test is skipped. */
async function nextAbout(peer, id, user) {
  for (;;) {
    const { json } = await peer.nextOf(id);
    if (json.id === user.id) return json;
  }
}

/** The next answer to a JSON-RPC request or of a refused command; broadcasts are skipped. */
async function nextAnswer(peer) {
  for (;;) {
    const message = await peer.next();
    if (message.id === undefined || message.id >= JSON_RPC_ERROR) return message;
  }
}

/** A connection that has told its name; its own arrival is read already. */
async function member(username) {
  const peer = await connect(server.url);
  peer.send(USER_INFO, { username });
  peer.user = (await peer.nextOf(USER_INFO)).json;
  await nextAbout(peer, JOINED, peer.user);
  return peer;
}

check('a chat message comes back to its sender with name, time and id', async () => {
  const peer = await connect(server.url);
  peer.send(CHAT, { message: 'héllo <b>✓</b> 👋' });
  const { json } = await peer.nextOf(CHAT);
  assert.equal(json.message, 'héllo <b>✓</b> 👋');
  assert.equal(json.username, `Guest_${json.id.slice(0, 8)}`);
  assert.match(json.timestamp, RFC3339);
  assert.ok(Math.abs(Date.parse(json.timestamp) - Date.now()) < 60_000);
  peer.send(CHAT, { text: 'the other name of the field' });
  assert.equal((await peer.nextOf(CHAT)).json.message, 'the other name of the field');
  await peer.close();
});

check('a name makes a member, who is announced, listed, renamed and seen off', async () => {
  const watcher = await member('Watcher');
  const peer = await connect(server.url);
  peer.send(USER_INFO, { username: '  Grace  ' });
  const user = (await peer.nextOf(USER_INFO)).json;
  assert.equal(user.username, 'Grace');
  assert.match(user.joinedAt, RFC3339);
  assert.deepEqual(await nextAbout(watcher, JOINED, user), user);
  assert.deepEqual(await nextAbout(peer, JOINED, user), user);

  peer.send(GET_USERS);
  const listed = (await peer.nextOf(USERS)).json;
  assert.deepEqual(listed.filter(({ id }) => id === watcher.user.id || id === user.id), [watcher.user, user]);
  peer.send(CHAT, { message: 'hi' });
  const message = (await watcher.nextOf(CHAT)).json;
  assert.deepEqual([message.username, message.id], ['Grace', user.id]);

  peer.send(USER_INFO, { username: 'Grace Hopper' });
  const renamed = (await peer.nextOf(USER_INFO)).json;
  assert.deepEqual([renamed.id, renamed.username], [user.id, 'Grace Hopper']);
  assert.deepEqual(await nextAbout(watcher, LEFT, user), user);
  assert.deepEqual(await nextAbout(watcher, JOINED, renamed), renamed);

  peer.socket.terminate();
  assert.deepEqual(await nextAbout(watcher, LEFT, renamed), renamed);
  await watcher.close();
});

check('who has no name is neither listed nor announced', async () => {
  const watcher = await member('Watcher');
  const guest = await connect(server.url);
  guest.send(CHAT, { message: 'who am I?' });
  const { id } = (await guest.nextOf(CHAT)).json;
  guest.send(GET_USERS);
  const listed = (await guest.nextOf(USERS)).json.map((user) => user.id);
  assert.ok(listed.includes(watcher.user.id));
  assert.ok(!listed.includes(id));
  await guest.close();

  await watcher.nextOf(CHAT);
  watcher.send(CHAT, { message: 'after the guest' });
  for (;;) {
    const message = await watcher.next();
    if (message.id === CHAT) break;
    assert.notEqual(message.json.id, id, 'the guest is announced');
  }
  await watcher.close();
});

check('bad names and messages are refused on the error id', async () => {
  const peer = await connect(server.url);
  const refused = [
    [USER_INFO, { username: '   ' }], [USER_INFO, { username: 'x'.repeat(21) }], [USER_INFO, { username: 'a\nb' }],
    [USER_INFO, {}], [USER_INFO, 'no JSON'],
    [CHAT, { message: ' \n ' }], [CHAT, { message: 'x'.repeat(2001) }], [CHAT, { message: 5 }], [CHAT, '{'],
  ];
  for (const [id, payload] of refused) {
    peer.send(id, payload);
    const answer = await nextAnswer(peer);
    assert.equal(answer.id, JSON_RPC_ERROR, JSON.stringify(payload));
    assert.equal(answer.json.id, null);
    assert.ok(answer.json.error.code < 0 && answer.json.error.message.length > 0);
  }
  peer.send(CHAT, { message: 'é'.repeat(2000) });
  assert.equal((await peer.nextOf(CHAT)).json.message.length, 2000);
  await peer.close();
});

check('an unknown command is answered on the error id', async () => {
  const peer = await connect(server.url);
  peer.send(0x0200, 'anything');
  const { id, json } = await nextAnswer(peer);
  assert.equal(id, JSON_RPC_ERROR);
  assert.deepEqual(json, {
    jsonrpc: '2.0', error: { code: -32601, message: 'unknown command', data: { command: 512 } }, id: null,
  });
  await peer.close();
});

check('JSON-RPC works on text and on its command id, and answers the same way', async () => {
  const peer = await member('Caller');
  for (const message of ['one', 'two', 'three']) {
    peer.send(CHAT, { message });
    await peer.nextOf(CHAT);
  }
  const request = { jsonrpc: '2.0', method: 'chat.history', params: { limit: 2 }, id: 'h' };
  peer.socket.send(JSON.stringify(request));
  const onText = await nextAnswer(peer);
  assert.equal(onText.id, undefined);
  assert.equal(onText.json.id, 'h');
  assert.deepEqual(onText.json.result.map(({ message, username, id }) => [message, username, id]),
    [['two', 'Caller', peer.user.id], ['three', 'Caller', peer.user.id]]);
  assert.match(onText.json.result[0].timestamp, RFC3339);

  peer.send(JSON_RPC, { ...request, id: 7 });
  const onCommand = await nextAnswer(peer);
  assert.equal(onCommand.id, JSON_RPC);
  assert.deepEqual(onCommand.json, { jsonrpc: '2.0', result: onText.json.result, id: 7 });
  await peer.close();
});

check('JSON-RPC errors have their own command id, and none on text', async () => {
  const peer = await connect(server.url);
  const request = { jsonrpc: '2.0', method: 'no.such.method', id: 1 };
  peer.send(JSON_RPC, request);
  let answer = await nextAnswer(peer);
  assert.deepEqual([answer.id, answer.json.error.code, answer.json.id], [JSON_RPC_ERROR, -32601, 1]);
  peer.socket.send(JSON.stringify(request));
  answer = await nextAnswer(peer);
  assert.deepEqual([answer.id, answer.json.error.code, answer.json.id], [undefined, -32601, 1]);
  peer.send(JSON_RPC, '{"jsonrpc": ');
  answer = await nextAnswer(peer);
  assert.deepEqual([answer.id, answer.json.error.code, answer.json.id], [JSON_RPC_ERROR, -32700, null]);
  peer.socket.send('{"jsonrpc": ');
  answer = await nextAnswer(peer);
  assert.deepEqual([answer.id, answer.json.error.code, answer.json.id], [undefined, -32700, null]);
  await peer.close();
});

check('notifications are not answered, batches by one message in order', async () => {
  const peer = await connect(server.url);
  peer.send(JSON_RPC, { jsonrpc: '2.0', method: 'chat.history', params: { limit: 1 } });
  peer.send(JSON_RPC, [
    { jsonrpc: '2.0', method: 'chat.history', params: { limit: 1 }, id: 1 },
    { jsonrpc: '2.0', method: 'chat.history' },
    { jsonrpc: '2.0', method: 'no.such.method', id: 2 },
  ]);
  const { id, json } = await nextAnswer(peer);
  assert.equal(id, JSON_RPC);
  assert.equal(json.length, 2);
  assert.deepEqual([json[0].id, json[1].id, json[1].error.code], [1, 2, -32601]);
  assert.ok(Array.isArray(json[0].result));
  await peer.close();
});

for (const length of [0, 1, 3]) {
  check(`a binary message of ${length} bytes closes with 1002`, async () => {
    const peer = await connect(server.url);
    peer.socket.send(Buffer.alloc(length));
    assert.deepEqual(await within(peer.closed, 'the close'), { code: 1002, reason: 'Invalid message format' });
  });
}

check('a ping is answered by a pong with the same payload', async () => {
  const peer = await connect(server.url);
  for (const payload of [Buffer.alloc(0), Buffer.from('are you there?'), Buffer.alloc(125, 0xab)]) {
    const pong = once(peer.socket, 'pong');
    peer.socket.ping(payload);
    assert.deepEqual((await within(pong, 'the pong'))[0], payload);
  }
  await peer.close();
});

for (const code of [1000, 3001, 4999]) {
  check(`a close with ${code} is answered with the same code`, async () => {
    const peer = await connect(server.url);
    peer.socket.close(code, 'bye');
    assert.equal((await within(peer.closed, 'the close')).code, code);
  });
}

check('fragments with a ping between them make one message', async () => {
  const peer = await connect(server.url, { perMessageDeflate: false });
  const pong = once(peer.socket, 'pong');
  peer.socket.send(Buffer.from([0, 0]), { binary: true, fin: false });
  peer.socket.send(Buffer.from([0, 1, 0x7b]), { binary: true, fin: false });
  peer.socket.ping('between');
  peer.socket.send(Buffer.from('"message":"in pieces"}'), { binary: true, fin: true });
  assert.equal((await peer.nextOf(CHAT)).json.message, 'in pieces');
  await within(pong, 'the pong');
  await peer.close();
});

check('whoever sends too much is closed with 1008', async () => {
  const peer = await connect(server.url);
  for (let index = 0; index < 2000; index += 1) peer.send(GET_USERS);
  assert.deepEqual(await within(peer.closed, 'the close'), { code: 1008, reason: 'Rate limit exceeded' });
});

check('another site may not connect, the page of the same host may', async () => {
  const refused = new WebSocket(server.url, { origin: 'http://elsewhere.example' });
  const [, response] = await within(once(refused, 'unexpected-response'), 'the refusal');
  assert.equal(response.statusCode, 403);
  refused.on('error', () => {});
  refused.terminate();
  await (await connect(server.url, { origin: server.origin })).close();
});

check('the page and its files are served, and nothing else', async () => {
  const get = async (path) => {  // fetch() would tidy up the path
    const [response] = await within(once(http.get(server.origin, { path }), 'response'), path);
    let body = '';
    for await (const chunk of response) body += chunk;
    return { status: response.statusCode, type: response.headers['content-type'], body };
  };
  const page = await get('/');
  assert.equal(page.status, 200);
  assert.match(page.type, /^text\/html/);
  assert.match(page.body, /<title>kephas chat<\/title>/);
  for (const [path, type] of [['/kephas-client.js', /javascript/], ['/kephas-client.mjs', /javascript/],
    ['/chat.js', /javascript/], ['/chat.css', /^text\/css/], ['/index.html', /^text\/html/]]) {
    const file = await get(path);
    assert.equal(file.status, 200, path);
    assert.match(file.type, type, path);
  }
  for (const path of ['/missing', '/../js-chat/chat.js', '/%2e%2e/js-chat/chat.js', '/..%2fjs-chat%2fchat.js', '//etc/passwd']) {
    const file = await get(path);
    assert.ok(file.status === 404 || file.status === 400, `${path}: ${file.status}`);
  }
});
