// permessage-deflate with implementations that are not ours: the ws package, and the browser if there is one.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import path from 'node:path';
import WebSocket from 'ws';
import { Inbox, within } from './support.mjs';

const browserPath = process.env.CHROMIUM || '/usr/bin/chromium';
const binary = process.env.KEPHAS_ECHO;
const options = { skip: binary ? false : 'KEPHAS_ECHO does not name the echo server', timeout: 120_000 };

let child;
let port;
before(async () => {
  if (options.skip) return;
  child = spawn(path.resolve(binary), ['--raw', '--deflate', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await within(once(child.stdout, 'data'), 'the echo server to listen');
  port = Number(/:(\d+)/.exec(line.toString())[1]);
});
after(async () => {
  if (!child) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  try {
    assert.equal((await within(exit, 'the echo server to end'))[0], 0);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
});

/** Text that compresses, with characters of every length in UTF-8. */
function prose(size, seed) {
  const words = ['player', 'position', 'größe', '位置', '👋', 'timestamp', '"x":', '0.12345,'];
  let text = '';
  for (let state = seed >>> 0; text.length < size;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += `${words[state >>> 29]} ${state >>> 22} `;
  }
  return text;
}

/** Bytes that do not. */
function noise(size, seed) {
  const bytes = Buffer.alloc(size);
  for (let i = 0, state = seed >>> 0; i < size; ++i) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

async function connect(perMessageDeflate) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`, { perMessageDeflate });
  socket.messages = new Inbox();
  socket.on('message', (data, isBinary) => socket.messages.push({ data, isBinary }));
  await within(once(socket, 'open'), 'the connection');
  return socket;
}

async function echo(socket, message, send = {}) {
  socket.send(message, send);
  const { data, isBinary } = await socket.messages.next('the echo');
  assert.equal(isBinary, typeof message !== 'string');
  assert.ok(typeof message === 'string' ? data.toString() === message : data.equals(message), 'another message came back');
}

async function close(socket) {
  const closed = once(socket, 'close');
  socket.close(1000);
  assert.equal((await within(closed, 'the close'))[0], 1000);
}

const settings = [];
for (const serverNoContextTakeover of [false, true]) {
  for (const clientNoContextTakeover of [false, true]) {
    for (const [serverMaxWindowBits, clientMaxWindowBits] of [[undefined, undefined], [9, 9], [8, 15], [12, 10], [15, 8]]) {
      settings.push({ serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits, threshold: 0 });
    }
  }
}

for (const setting of settings) {
  test(`ws with ${JSON.stringify(setting)}`, options, async () => {
    const socket = await connect(setting);
    assert.match(socket.extensions, /permessage-deflate/);
    const agreed = Object.values(socket._extensions)[0].params;
    if (setting.serverMaxWindowBits < 15) assert.equal(agreed.server_max_window_bits, setting.serverMaxWindowBits);
    if (setting.serverNoContextTakeover) assert.equal(agreed.server_no_context_takeover, true);
    for (let i = 0; i < 12; ++i) {
      await echo(socket, prose(20 + 3 ** i % 90_000, i));
      await echo(socket, noise(2 ** i, i));
      await echo(socket, prose(700, 1), { compress: i % 2 === 0 });
    }
    await echo(socket, '');
    await echo(socket, Buffer.alloc(0));
    await echo(socket, 'after nothing');
    await close(socket);
  });
}

test('ws sends in fragments, with pings between', options, async () => {
  const socket = await connect({ threshold: 0 });
  const parts = Array.from({ length: 50 }, (_, i) => prose(100 + 40 * i, i));
  for (const [i, part] of parts.entries()) {
    socket.send(part, { fin: i === parts.length - 1 });
    if (i % 10 === 0) socket.ping('between');
  }
  const { data } = await socket.messages.next('the echo');
  assert.ok(data.toString() === parts.join(''));
  await close(socket);
});

test('16 MiB come back, and many messages of 131,072 bytes', options, async () => {
  const socket = await connect({ threshold: 0, zlibDeflateOptions: { level: 1 } });
  await echo(socket, Buffer.from(prose(8 * 1024 * 1024, 1)));
  await echo(socket, noise(16 * 1024 * 1024, 1));
  const message = Buffer.from(prose(131_072, 7)).subarray(0, 131_072);
  const count = process.env.KEPHAS_LONG ? 1_000 : 100;
  let sent = 0;
  for (; sent < 20; ++sent) socket.send(message);
  for (let received = 0; received < count; ++received) {
    const { data } = await socket.messages.next('an echo');
    assert.ok(data.equals(message));
    if (sent < count) {
      socket.send(message);
      ++sent;
    }
  }
  await close(socket);
});

test('a bomb is refused with 1009', options, async () => {
  const socket = await connect({ threshold: 0, zlibDeflateOptions: { level: 9 } });
  const closed = once(socket, 'close');
  socket.on('error', () => {});
  socket.send(Buffer.alloc(200 * 1024 * 1024));
  const [code, reason] = await within(closed, 'the close', 60_000);
  assert.equal(code, 1009);
  assert.match(reason.toString(), /exceeds the limit/);
});

test('without an offer nothing is compressed', options, async () => {
  const socket = await connect(false);
  assert.equal(socket.extensions, '');
  await echo(socket, prose(10_000, 3));
  await close(socket);
});

test('Chromium agrees on compression and gets back what it sent', { ...options, skip: options.skip || !existsSync(browserPath) }, async () => {
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({
    executablePath: browserPath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage();
    const messages = Array.from({ length: 30 }, (_, i) => prose(3 ** (i % 11), i));
    const result = await page.evaluate(async ({ url, messages }) => {
      const socket = new WebSocket(url);
      const inbox = [];
      let wake = () => {};
      socket.onmessage = ({ data }) => { inbox.push(data); wake(); };
      await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
      for (const message of messages) socket.send(message);
      while (inbox.length < messages.length) await new Promise((resolve) => { wake = resolve; });
      const closed = new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code); });
      socket.close(1000);
      return { extensions: socket.extensions, same: messages.every((message, i) => message === inbox[i]), code: await closed };
    }, { url: `ws://127.0.0.1:${port}/ws`, messages });
    assert.match(result.extensions, /^permessage-deflate/);
    assert.ok(result.same);
    assert.equal(result.code, 1000);
  } finally {
    await browser.close();
  }
});
