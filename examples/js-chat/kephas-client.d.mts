export * from './kephas-client.js';
export { KephasClient as default } from './kephas-client.js';
