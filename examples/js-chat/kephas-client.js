/*
 * kephas-client: a client for servers that speak the kephas command protocol over WebSocket.
 * No dependencies. For browsers, and for Node 18 and later given a WebSocket implementation.
 *
 * As a classic script it sets the globals KephasClient, KephasReservedCommands and KephasConnectionState;
 * kephas-client.mjs exports the same names as an ES module; kephas-client.d.ts has the types.
 *
 *   const client = new KephasClient({ url: 'ws://localhost:8080/ws' });
 *   client.on(0x0001, (payload) => console.log(new TextDecoder().decode(payload)));
 *   await client.connect();
 *   await client.sendJSON(0x0001, { message: 'hello' });
 *   const latest = await client.sendJSONRPC('chat.history', { limit: 20 });
 *
 * On the wire each binary message is a command: its id as u32 big-endian, then the payload.
 *   0xFFFFFFFF  JSON-RPC 2.0 in both directions: requests, notifications, results
 *   0xFFFFFFFE  JSON-RPC 2.0 errors of single requests, and errors of commands (their id is null)
 * All other ids belong to the application.
 */
(function (global) {
'use strict';

/** Ids that the protocol keeps for itself: send() and on() refuse them. */
const KephasReservedCommands = Object.freeze({
  JSON_RPC: 0xffffffff,
  JSON_RPC_ERROR: 0xfffffffe,
});

const KephasConnectionState = Object.freeze({
  DISCONNECTED: 'DISCONNECTED',  // not connected yet, or the first attempt failed, or autoReconnect is off
  CONNECTING: 'CONNECTING',      // an attempt is under way, the first or a later one
  CONNECTED: 'CONNECTED',
  RECONNECTING: 'RECONNECTING',  // the connection was lost; waiting for the next attempt
  CLOSED: 'CLOSED',              // over: disconnect(), a close code that forbids coming back, or attempts used up
});

const { JSON_RPC, JSON_RPC_ERROR } = KephasReservedCommands;
const { DISCONNECTED, CONNECTING, CONNECTED, RECONNECTING, CLOSED } = KephasConnectionState;

const OPEN = 1;  // WebSocket.readyState
const RPC_TIMEOUT = 30000;
const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;

const defaults = {
  url: undefined,
  autoReconnect: true,
  reconnectDelay: 3000,            // ms; see KephasClient.backoffDelay
  maxReconnectAttempts: Infinity,  // in a row; a successful connection starts anew
  connectionTimeout: 10000,        // ms for one attempt
  debug: false,
  WebSocket: undefined,            // the implementation; by default the global one
};

const callbacks = ['onConnect', 'onDisconnect', 'onReconnect', 'onStateChange', 'onError'];

class KephasClient {
  /** Called with {reconnected} each time a connection is open: the place to log in. */
  onConnect = null;
  /** Called with {code, reason, willReconnect, delay} when an open connection has ended. */
  onDisconnect = null;
  /** Called with {attempts} after onConnect when a lost connection is back. */
  onReconnect = null;
  /** Called with (state, {previous, attempt, delay}); delay in ms until the next attempt, 0 when none is waiting. */
  onStateChange = null;
  /** Called with an Error: failed attempts, errors of commands (with code and data), exceptions of handlers. */
  onError = null;

  #socket = null;
  #state = DISCONNECTED;
  #attempt = 0;          // number of the reconnection attempt; 0 while the connection was never lost
  #reconnectTimer = null;
  #connecting = null;    // {promise, resolve, reject, timer} of the attempt under way
  #commands = new Map(); // command id -> Set of handlers
  #methods = new Map();  // method -> handler of the server's calls
  #pending = new Map();  // request id -> {resolve, reject, timer}
  #nextId = 1;           // never starts anew: a late answer must not find another call

  constructor(config) {
    if (!config || typeof config.url !== 'string') throw new TypeError('KephasClient needs a url');
    this.config = { ...defaults };
    for (const key of Object.keys(defaults)) {
      if (config[key] !== undefined) this.config[key] = config[key];
    }
    for (const name of callbacks) {
      if (config[name] !== undefined) this[name] = config[name];
    }
  }

  /**
   * Whether a client should come back after this close code: after 1001, 1005, 1006 and 1011 to 1014, and from
   * 3000 on after codes whose last three digits are below 500.
   */
  static mayReconnect(code) {
    if (code >= 3000) return code % 1000 < 500;
    return code === 1001 || code === 1005 || code === 1006 || (code >= 1011 && code <= 1014);
  }

  /**
   * Milliseconds before the attempt (1, 2, ...): reconnectDelay * min(attempt, 5), of which a random part between
   * 50 % and 100 % is waited, so that the clients of a restarted server do not return all at once.
   */
  static backoffDelay(attempt, reconnectDelay, random = Math.random) {
    return reconnectDelay * Math.min(attempt, 5) * (0.5 + 0.5 * random());
  }

  getState() {
    return this.#state;
  }

  isConnected() {  // not while the closing handshake runs
    return this.#state === CONNECTED && this.#socket.readyState === OPEN;
  }

  /**
   * Resolves when the connection is open; rejects with "Connection timeout" or "Connection failed: <reason>".
   * Makes one attempt: only a connection that was open once is sought again on its own. While the client waits
   * to reconnect, connect() tries at once.
   */
  connect() {
    if (this.#state === CONNECTED) return Promise.resolve();
    if (this.#connecting) return this.#connecting.promise;
    if (this.#state !== RECONNECTING) this.#attempt = 0;
    return this.#open();
  }

  /** Closes with 1000 "Client disconnect" and stays closed until the next connect(). */
  disconnect() {
    if (this.#state === DISCONNECTED || this.#state === CLOSED) return;
    const wasConnected = this.#state === CONNECTED;
    const socket = this.#socket;
    this.#socket = null;  // its later events are no longer ours
    clearTimeout(this.#reconnectTimer);
    if (socket) socket.close(1000, 'Client disconnect');
    this.#settle(new Error('Connection failed: Client disconnect'));
    this.#rejectPending();
    this.#setState(CLOSED);
    if (wasConnected) {
      this.#emit('onDisconnect', { code: 1000, reason: 'Client disconnect', willReconnect: false, delay: 0 });
    }
  }

  /**
   * Calls handler(payload, commandId) for each command with this id; several handlers may share one. They stay
   * registered over reconnections. Returns a function that takes the handler away again.
   */
  on(commandId, handler) {
    checkApplicationId(commandId);
    if (typeof handler !== 'function') throw new TypeError('The handler must be a function');
    if (!this.#commands.has(commandId)) this.#commands.set(commandId, new Set());
    this.#commands.get(commandId).add(handler);
    return () => this.off(commandId, handler);
  }

  /** Takes one handler of the command away, or all of them. */
  off(commandId, handler) {
    const handlers = this.#commands.get(commandId);
    if (!handlers) return;
    if (handler) handlers.delete(handler);
    if (!handler || handlers.size === 0) this.#commands.delete(commandId);
  }

  /** Sends bytes (none by default); rejects with "Not connected to server". Sends keep their order. */
  async send(commandId, payload) {
    checkApplicationId(commandId);
    this.#transmit(commandId, payload);
  }

  async sendString(commandId, text) {
    return this.send(commandId, utf8(String(text)));
  }

  async sendJSON(commandId, value) {
    return this.send(commandId, jsonBytes(value));
  }

  /**
   * Calls a method of the server and resolves with its result. Any number of calls may be under way. Rejects with
   * an Error that has code and data when the server answers with an error, with "JSON-RPC request timeout" after
   * timeout ms (Infinity: never), and with "Connection closed" when the connection ends first.
   */
  async sendJSONRPC(method, params, { timeout = RPC_TIMEOUT } = {}) {
    const id = this.#nextId++;
    this.#transmit(JSON_RPC, jsonBytes({ jsonrpc: '2.0', method, params, id }));
    return new Promise((resolve, reject) => {
      const expire = () => {
        this.#pending.delete(id);
        reject(new Error('JSON-RPC request timeout'));
      };
      const timer = timeout === Infinity ? null : setTimeout(expire, timeout);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  /** Sends a JSON-RPC notification: the server does not answer it. */
  async notify(method, params) {
    this.#transmit(JSON_RPC, jsonBytes({ jsonrpc: '2.0', method, params }));
  }

  /**
   * Answers the server's calls of this method with what handler(params) returns or resolves to; null removes it.
   * An Error with an integer code is sent to the server as it is, any other as "Internal error".
   */
  onRequest(method, handler) {
    if (handler) this.#methods.set(method, handler);
    else this.#methods.delete(method);
  }

  /** The message as an ArrayBuffer: id, then payload (a Uint8Array, another view, an ArrayBuffer, or none). */
  encode(commandId, payload) {
    checkId(commandId);
    const bytes = toBytes(payload);
    const message = new Uint8Array(4 + bytes.length);
    new DataView(message.buffer).setUint32(0, commandId);
    message.set(bytes, 4);
    return message.buffer;
  }

  /** {commandId, payload} of a message; the payload is a view into it. Throws "Message too short". */
  decode(message) {
    const bytes = toBytes(message);
    if (bytes.length < 4) throw new Error('Message too short');
    return {
      commandId: new DataView(bytes.buffer, bytes.byteOffset).getUint32(0),
      payload: bytes.subarray(4),
    };
  }

  // --- connection ---

  #open() {
    const attempt = {};
    attempt.promise = new Promise((resolve, reject) => Object.assign(attempt, { resolve, reject }));
    attempt.promise.catch(() => {});  // nobody awaits the attempts that a timer starts; onError tells about them
    clearTimeout(this.#reconnectTimer);
    this.#connecting = attempt;
    this.#setState(CONNECTING);
    if (this.#connecting !== attempt) return attempt.promise;  // onStateChange called disconnect()

    const Implementation = this.config.WebSocket || global.WebSocket;
    let socket;
    try {
      if (!Implementation) throw new Error('no WebSocket implementation, pass one as the option WebSocket');
      socket = new Implementation(this.config.url);
    } catch (error) {
      this.#attemptFailed(new Error(`Connection failed: ${error.message}`));
      return attempt.promise;
    }
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    let failure = '';
    // The handlers stay on the socket after it was given up: some implementations throw errors nobody listens to.
    socket.onopen = () => { if (socket === this.#socket) this.#opened(); };
    socket.onmessage = (event) => { if (socket === this.#socket) this.#received(event.data); };
    socket.onerror = (event) => { failure = event.message || failure; };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (this.#state === CONNECTED) this.#lost(event.code, event.reason);
      else this.#attemptFailed(new Error(`Connection failed: ${event.reason || failure || `code ${event.code}`}`));
    };
    attempt.timer = setTimeout(() => {
      this.#socket = null;
      socket.close();
      this.#attemptFailed(new Error('Connection timeout'));
    }, this.config.connectionTimeout);
    return attempt.promise;
  }

  #opened() {
    const attempts = this.#attempt;
    this.#attempt = 0;
    this.#settle();
    this.#setState(CONNECTED);
    this.#emit('onConnect', { reconnected: attempts > 0 });
    if (attempts > 0) this.#emit('onReconnect', { attempts });
  }

  #attemptFailed(error) {
    const again = this.#attempt > 0 && this.#attempt < this.config.maxReconnectAttempts;
    const over = this.#attempt > 0 && !again;
    this.#settle(error);
    if (again) this.#scheduleReconnect();
    else this.#setState(over ? CLOSED : DISCONNECTED);
    this.#emit('onError', error);
  }

  #lost(code, reason) {
    this.#rejectPending();
    const comesBack = KephasClient.mayReconnect(code);
    const willReconnect = comesBack && this.config.autoReconnect && this.config.maxReconnectAttempts > 0;
    let delay = 0;
    if (willReconnect) delay = this.#scheduleReconnect();
    else this.#setState(comesBack ? DISCONNECTED : CLOSED);
    this.#emit('onDisconnect', { code, reason, willReconnect, delay });
  }

  #scheduleReconnect() {
    this.#attempt += 1;
    const delay = KephasClient.backoffDelay(this.#attempt, this.config.reconnectDelay);
    this.#reconnectTimer = setTimeout(() => this.#open(), delay);
    this.#setState(RECONNECTING, delay);
    return delay;
  }

  /** Ends the attempt under way, if there is one. */
  #settle(error) {
    const attempt = this.#connecting;
    if (!attempt) return;
    this.#connecting = null;
    clearTimeout(attempt.timer);
    if (error) attempt.reject(error);
    else attempt.resolve();
  }

  #setState(state, delay = 0) {
    if (state === this.#state) return;
    const previous = this.#state;
    this.#state = state;
    this.#log(`${previous} -> ${state}`);
    this.#emit('onStateChange', state, { previous, attempt: this.#attempt, delay });
  }

  // --- messages ---

  #transmit(commandId, payload) {
    if (!this.isConnected()) throw new Error('Not connected to server');
    this.#socket.send(this.encode(commandId, payload));
    this.#log(`sent ${hex(commandId)}`);
  }

  #received(data) {
    if (typeof data === 'string') {  // a text message can only be JSON-RPC here: this client sends no events
      this.#receivedRPC(data);
      return;
    }
    let message;
    try {
      message = this.decode(data);
    } catch (error) {
      this.#emit('onError', error);
      return;
    }
    const { commandId, payload } = message;
    this.#log(`received ${hex(commandId)}, ${payload.length} bytes`);
    if (commandId === JSON_RPC || commandId === JSON_RPC_ERROR) {
      this.#receivedRPC(new TextDecoder().decode(payload));
      return;
    }
    for (const handler of [...(this.#commands.get(commandId) || [])]) {
      this.#guard(() => handler(payload, commandId));
    }
  }

  #receivedRPC(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      this.#emit('onError', new Error('Invalid JSON-RPC message'));
      return;
    }
    if (!Array.isArray(message)) {
      this.#handleRPC(message).then((reply) => this.#replyRPC(reply));
      return;
    }
    Promise.all(message.map((element) => this.#handleRPC(element))).then((replies) => {
      const answered = replies.filter(Boolean);
      if (answered.length > 0) this.#replyRPC(answered);
    });
  }

  /** Takes one JSON-RPC object in; resolves with the response to send, if it asks for one. */
  async #handleRPC(message) {
    if (message === null || typeof message !== 'object') {
      this.#emit('onError', new Error('Invalid JSON-RPC message'));
    } else if (typeof message.method === 'string') {
      return this.#answer(message);
    } else if (this.#pending.has(message.id)) {
      const { resolve, reject, timer } = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      clearTimeout(timer);
      if (message.error) reject(remoteError(message.error));
      else resolve(message.result);
    } else if (message.error && message.id == null) {
      this.#emit('onError', remoteError(message.error));
    } else {
      this.#log('an answer that nobody waits for');  // its call has timed out
    }
    return undefined;
  }

  async #answer({ method, params, id }) {
    const response = { jsonrpc: '2.0' };
    const handler = this.#methods.get(method);
    try {
      if (!handler) throw Object.assign(new Error('Method not found'), { code: METHOD_NOT_FOUND });
      const result = await handler(params);
      response.result = result === undefined ? null : result;
    } catch (error) {
      const meant = error && Number.isInteger(error.code);
      response.error = meant
        ? { code: error.code, message: error.message, data: error.data }
        : { code: INTERNAL_ERROR, message: 'Internal error' };
      if (!meant) this.#emit('onError', error);
    }
    if (id === undefined) return undefined;  // a notification
    response.id = id;
    return response;
  }

  #replyRPC(reply) {
    if (!reply || !this.isConnected()) return;
    this.#guard(() => this.#transmit(reply.error ? JSON_RPC_ERROR : JSON_RPC, jsonBytes(reply)));
  }

  #rejectPending() {
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of calls) {
      clearTimeout(timer);
      reject(new Error('Connection closed'));
    }
  }

  // --- callbacks ---

  #emit(name, ...args) {
    const callback = this[name];
    if (callback) this.#guard(() => callback.apply(this, args), name === 'onError');
    else if (name === 'onError') this.#log(`error: ${args[0] && args[0].message}`);
  }

  /** Runs code of the application, sync or async; what it throws goes to onError, or to the console. */
  #guard(run, toConsole = !this.onError) {
    const report = (error) => {
      if (toConsole) console.error('[KephasClient]', error);
      else this.#emit('onError', error);
    };
    try {
      Promise.resolve(run()).catch(report);
    } catch (error) {
      report(error);
    }
  }

  #log(text) {
    if (this.config.debug) console.debug(`[KephasClient] ${text}`);
  }
}

function hex(commandId) {
  return `0x${commandId.toString(16).toUpperCase().padStart(8, '0')}`;
}

function checkId(commandId) {
  if (!Number.isInteger(commandId) || commandId < 0 || commandId > 0xffffffff) {
    throw new RangeError('A command ID is an integer between 0 and 0xFFFFFFFF');
  }
}

function checkApplicationId(commandId) {
  checkId(commandId);
  if (commandId === JSON_RPC || commandId === JSON_RPC_ERROR) {
    throw new Error(`Command ID ${hex(commandId)} is reserved`);
  }
}

function utf8(text) {
  return new TextEncoder().encode(text);
}

function jsonBytes(value) {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError('The value has no JSON form');
  return utf8(text);
}

function toBytes(data) {
  if (data === undefined || data === null) return new Uint8Array(0);
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (Object.prototype.toString.call(data) === '[object ArrayBuffer]') return new Uint8Array(data);
  throw new TypeError('The payload must be bytes: use sendString() or sendJSON() for other values');
}

/** An Error made of the error member of a JSON-RPC response. */
function remoteError({ code, message, data }) {
  return Object.assign(new Error(String(message)), { code, data });
}

Object.assign(global, { KephasClient, KephasReservedCommands, KephasConnectionState });
})(globalThis);
