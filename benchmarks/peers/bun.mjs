// The echo on Bun's own server: no compression; Bun itself turns Nagle's algorithm off.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request, self) {
    return self.upgrade(request) ? undefined : new Response('a WebSocket is expected', { status: 400 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 10 * 1024 * 1024 + 4,
    backpressureLimit: 64 * 1024 * 1024, // what a client has not taken yet; more would be dropped
    message(socket, data) {
      socket.send(data);
    },
  },
});
console.log(`listening on 127.0.0.1:${server.port}`);
process.on('SIGTERM', () => process.exit(0));
