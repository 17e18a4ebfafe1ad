// Types of kephas-client.js (globals) and kephas-client.mjs (exports).

export type KephasState = 'DISCONNECTED' | 'CONNECTING' | 'CONNECTED' | 'RECONNECTING' | 'CLOSED';

/** What a payload may be given as. */
export type KephasBytes = ArrayBuffer | ArrayBufferView | null | undefined;

/** An error that the other side answered with, or that a handler of `onRequest` throws to answer with. */
export interface KephasRPCError extends Error {
  code: number;
  data?: unknown;
}

export interface KephasDisconnectInfo {
  /** The close code; 1006 when the connection ended without a close frame. */
  code: number;
  reason: string;
  willReconnect: boolean;
  /** Milliseconds until the first attempt; 0 when there will be none. */
  delay: number;
}

export interface KephasStateInfo {
  previous: KephasState;
  /** Number of the reconnection attempt that waits or is under way; 0 outside a reconnection. */
  attempt: number;
  /** Milliseconds until that attempt; 0 when none is waiting. */
  delay: number;
}

export interface KephasCallbacks {
  /** Each time a connection is open: the place to log in. */
  onConnect: ((info: { reconnected: boolean }) => unknown) | null;
  /** When an open connection has ended. */
  onDisconnect: ((info: KephasDisconnectInfo) => unknown) | null;
  /** After `onConnect`, when a lost connection is back. */
  onReconnect: ((info: { attempts: number }) => unknown) | null;
  onStateChange: ((state: KephasState, info: KephasStateInfo) => unknown) | null;
  /** Failed attempts, errors of commands (a `KephasRPCError`), and what handlers throw. */
  onError: ((error: Error | KephasRPCError) => unknown) | null;
}

/** The part of the WebSocket interface that the client uses; browsers' and the one of `ws` have it. */
export interface KephasWebSocketConstructor {
  new (url: string): {
    binaryType: any;
    readonly readyState: number;
    onopen: any;
    onmessage: any;
    onerror: any;
    onclose: any;
    send(data: ArrayBuffer): void;
    close(code?: number, reason?: string): void;
  };
}

export interface KephasOptions {
  url: string;
  /** Seek the connection again when it is lost. Default true. */
  autoReconnect: boolean;
  /** Milliseconds; the delay of attempt n is 50 to 100 % of this times min(n, 5). Default 3000. */
  reconnectDelay: number;
  /** In a row; a successful connection starts anew. Default Infinity. */
  maxReconnectAttempts: number;
  /** Milliseconds for one attempt. Default 10000. */
  connectionTimeout: number;
  /** Log to the console. Default false. */
  debug: boolean;
  /** The implementation to use; by default the global one. */
  WebSocket: KephasWebSocketConstructor | undefined;
}

export type KephasConfig = { url: string } & Partial<KephasOptions> & Partial<KephasCallbacks>;

export type KephasCommandHandler = (payload: Uint8Array, commandId: number) => unknown;
export type KephasRequestHandler = (params: any) => unknown;

export declare class KephasClient implements KephasCallbacks {
  constructor(config: KephasConfig);

  /** Whether a client should come back after this close code. */
  static mayReconnect(code: number): boolean;
  /** Milliseconds to wait before the attempt (1, 2, ...). */
  static backoffDelay(attempt: number, reconnectDelay: number, random?: () => number): number;

  config: KephasOptions;
  onConnect: KephasCallbacks['onConnect'];
  onDisconnect: KephasCallbacks['onDisconnect'];
  onReconnect: KephasCallbacks['onReconnect'];
  onStateChange: KephasCallbacks['onStateChange'];
  onError: KephasCallbacks['onError'];

  /** One attempt, or the next one at once while the client waits to reconnect. */
  connect(): Promise<void>;
  /** Closes with 1000 "Client disconnect" and stays closed until the next `connect()`. */
  disconnect(): void;
  getState(): KephasState;
  isConnected(): boolean;

  /** Adds a handler; returns a function that takes it away again. */
  on(commandId: number, handler: KephasCommandHandler): () => void;
  /** Takes one handler away, or all of the command. */
  off(commandId: number, handler?: KephasCommandHandler): void;

  send(commandId: number, payload?: KephasBytes): Promise<void>;
  sendString(commandId: number, text: string): Promise<void>;
  sendJSON(commandId: number, value: unknown): Promise<void>;

  /** Resolves with the result; rejects with a `KephasRPCError` when the server answers with an error. */
  sendJSONRPC<Result = any>(method: string, params?: object, options?: { timeout?: number }): Promise<Result>;
  notify(method: string, params?: object): Promise<void>;
  /** Answers the server's calls of this method; null removes the handler. */
  onRequest(method: string, handler: KephasRequestHandler | null): void;

  encode(commandId: number, payload?: KephasBytes): ArrayBuffer;
  /** The payload is a view into the message. */
  decode(message: KephasBytes): { commandId: number; payload: Uint8Array };
}

export declare const KephasReservedCommands: {
  readonly JSON_RPC: 0xffffffff;
  readonly JSON_RPC_ERROR: 0xfffffffe;
};

export declare const KephasConnectionState: { readonly [State in KephasState]: State };

declare const Client: typeof KephasClient;
declare const ReservedCommands: typeof KephasReservedCommands;
declare const ConnectionState: typeof KephasConnectionState;

declare global {
  var KephasClient: typeof Client;
  type KephasClient = InstanceType<typeof Client>;
  var KephasReservedCommands: typeof ReservedCommands;
  var KephasConnectionState: typeof ConnectionState;
}
