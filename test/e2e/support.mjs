// What the tests share: waiting with a deadline, commands, and the chat server as a child process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import WebSocket from 'ws';

export const DEADLINE = 10_000;
export const JSON_RPC = 0xffffffff;
export const JSON_RPC_ERROR = 0xfffffffe;

/** The promise, or an error that names what did not happen in time. */
export function within(promise, what, milliseconds = DEADLINE) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out waiting for ${what}`)), milliseconds);
  });
  return Promise.race([promise, deadline]).finally(() => clearTimeout(timer));
}

/** Values that arrive by themselves, taken one at a time. */
export class Inbox {
  #values = [];
  #waiting = [];

  push(value) {
    const next = this.#waiting.shift();
    if (next) next(value);
    else this.#values.push(value);
  }

  next(what = 'the next message') {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    return within(new Promise((resolve) => this.#waiting.push(resolve)), what);
  }
}

/** A command as the bytes of a message; objects become JSON. */
export function command(id, payload = '') {
  const bytes = Buffer.isBuffer(payload) ? payload
    : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  const message = Buffer.alloc(4 + bytes.length);
  message.writeUInt32BE(id);
  bytes.copy(message, 4);
  return message;
}

/** {id, bytes, text, json} of a binary message, {text, json} of a text message. */
export function parse(data, binary) {
  if (!binary) return { text: data.toString(), json: tryJSON(data.toString()) };
  const bytes = data.subarray(4);
  return { id: data.readUInt32BE(0), bytes, text: bytes.toString(), json: tryJSON(bytes.toString()) };
}

function tryJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A connection of the ws package whose messages wait in an inbox. */
export async function connect(url, options) {
  const socket = new WebSocket(url, options);
  const peer = new Peer(socket);
  await within(once(socket, 'open'), `a connection to ${url}`);
  return peer;
}

export class Peer {
  constructor(socket) {
    this.socket = socket;
    this.messages = new Inbox();
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    socket.on('error', () => {});  // a close follows
    socket.on('message', (data, binary) => this.messages.push(parse(data, binary)));
  }

  send(id, payload) {
    this.socket.send(command(id, payload));
  }

  next() {
    return this.messages.next();
  }

  /** The next message with this command id; others before it are skipped. */
  async nextOf(id) {
    for (;;) {
      const message = await this.messages.next(`command ${id}`);
      if (message.id === id) return message;
    }
  }

  async close(code = 1000) {
    this.socket.close(code);
    return within(this.closed, 'the close');
  }
}

/** Ports that were free a moment ago, all different. */
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** The server that KEPHAS_CHAT names; start() and stop() may alternate, the ports stay. */
export class ChatServer {
  #child = null;
  #output = '';
  #options = [];

  /** `tls`: {cert, key}, the names of PEM files. */
  static async create(tls) {
    const server = new ChatServer();
    const s = tls ? 's' : '';
    if (tls) server.#options = ['--tls-cert', tls.cert, '--tls-key', tls.key];
    [server.port, server.httpPort] = await freePorts(2);
    server.url = `ws${s}://127.0.0.1:${server.port}/ws`;
    server.origin = `http${s}://127.0.0.1:${server.httpPort}`;
    server.page = `${server.origin}/?ws=${encodeURIComponent(server.url)}`;
    await server.start();
    return server;
  }

  async start() {
    const binary = path.resolve(process.env.KEPHAS_CHAT);
    const child = spawn(binary, ['--port', String(this.port), '--http-port', String(this.httpPort), ...this.#options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => { this.#output = (this.#output + data).slice(-8000); });
    }
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`${binary} has ended (${code ?? signal}):\n${this.#output}`);
    });
    ended.catch(() => {});
    const listening = Promise.all([this.port, this.httpPort].map((port) => accepts(port, child)));
    await within(Promise.race([listening, ended]), `${binary} to listen`);
  }

  /** SIGTERM, and the exit code of an orderly end; SIGKILL and an error when it does not come. */
  async stop() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    try {
      const [code] = await within(exit, 'the server to end after SIGTERM', 2 * DEADLINE);
      return code;
    } catch (error) {
      child.kill('SIGKILL');
      throw new Error(`${error.message}:\n${this.#output}`);
    }
  }
}

/** Resolves once something accepts connections on the port, or the process is gone. */
function accepts(port, child) {
  return new Promise((resolve) => {
    const attempt = () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const socket = net.connect(port, '127.0.0.1');
      socket.on('connect', () => { socket.destroy(); resolve(); });
      socket.on('error', () => setTimeout(attempt, 20));
    };
    attempt();
  });
}

/** For `test(name, needsServer, ...)`: skipped when there is no binary to test. */
export const needsServer = {
  skip: process.env.KEPHAS_CHAT ? false : 'KEPHAS_CHAT does not name the chat server',
  timeout: 60_000,
};
