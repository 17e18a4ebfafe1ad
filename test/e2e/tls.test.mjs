// Foreign TLS clients of the chat server: the ws package, Node's https, and openssl s_client.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { ChatServer, connect, needsServer, within } from './support.mjs';

const CHAT = 1;
let folder, ca, server;

function openssl(...args) {
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
}

/** A certificate for 127.0.0.1 in server.pem and server.key, by the authority of this test. */
function issue() {
  openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost',
    '-keyout', 'next.key', '-out', 'next.csr');
  openssl('x509', '-req', '-in', 'next.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '1',
    '-extfile', 'names.txt', '-out', 'next.pem');
  fs.renameSync(path.join(folder, 'next.pem'), path.join(folder, 'server.pem'));
  fs.renameSync(path.join(folder, 'next.key'), path.join(folder, 'server.key'));
}

before(async () => {
  if (needsServer.skip) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kephas-tls-'));
  fs.writeFileSync(path.join(folder, 'names.txt'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
  openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1',
    '-subj', '/CN=kephas e2e CA', '-keyout', 'ca.key', '-out', 'ca.pem');
  issue();
  ca = fs.readFileSync(path.join(folder, 'ca.pem'));
  server = await ChatServer.create({ cert: path.join(folder, 'server.pem'), key: path.join(folder, 'server.key') });
});
after(async () => {
  if (server) assert.equal(await server.stop(), 0);
  if (folder) fs.rmSync(folder, { recursive: true });
});

const check = (name, run) => test(name, needsServer, run);

for (const version of ['TLSv1.2', 'TLSv1.3']) {
  check(`ws talks ${version} to it, verifying the certificate`, async () => {
    const peer = await connect(server.url, { ca, minVersion: version, maxVersion: version });
    assert.equal(peer.socket._socket.getProtocol(), version);
    for (const message of ['hello', 'ü'.repeat(1500)]) {
      peer.send(CHAT, { message });
      assert.equal((await peer.nextOf(CHAT)).json.message, message);
    }
    assert.equal((await peer.close()).code, 1000);
  });

  check(`openssl s_client opens a WebSocket with ${version}`, async () => {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${server.port}`, '-CAfile', 'ca.pem', '-verify_return_error',
      '-verify_ip', '127.0.0.1', '-alpn', 'http/1.1', '-servername', 'localhost', '-ign_eof', `-${version === 'TLSv1.2' ? 'tls1_2' : 'tls1_3'}`],
    { cwd: folder });
    let output = '';
    const answered = new Promise((resolve) => {
      child.stdout.on('data', (data) => {
        output += data;
        if (output.includes('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=')) resolve();
      });
    });
    child.stdin.write('GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
    await within(answered, `a 101 in ${output}`);
    assert.match(output, /HTTP\/1\.1 101 /);
    assert.match(output, /ALPN protocol: http\/1\.1/);
    assert.match(output, /Verif(y return code: 0|ication: OK)/);
    child.stdin.destroy();
    child.kill();
    await within(once(child, 'close'), 'the end of s_client');
  });
}

check('the page comes over https, and a client that trusts nobody of ours is told so by its own TLS', async () => {
  const body = await new Promise((resolve, reject) => {
    https.get(server.origin, { ca }, (response) => {
      let text = '';
      response.on('data', (data) => { text += data; });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
  assert.match(body, /<script/);
  await assert.rejects(new Promise((resolve, reject) => {
    https.get(server.origin, resolve).on('error', reject);
  }), /certificate/);
});

check('an origin without TLS is a page of this host all the same for the chat, another host is not', async () => {
  const peer = await connect(server.url, { ca, origin: server.origin });
  await peer.close();
  await assert.rejects(connect(server.url, { ca, origin: 'https://example.com' }));
});

check('a new certificate is used without a restart, and open connections stay', async () => {
  const shown = async () => {
    const socket = tls.connect({ port: server.port, host: '127.0.0.1', ca, servername: 'localhost' });
    await within(once(socket, 'secureConnect'), 'TLS');
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };
  const peer = await connect(server.url, { ca });
  const first = await shown();
  issue();
  await within((async () => {
    while (await shown() === first);
  })(), 'the new certificate');
  peer.send(CHAT, { message: 'still here' });
  assert.equal((await peer.nextOf(CHAT)).json.message, 'still here');
  await peer.close();
});
