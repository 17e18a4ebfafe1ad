// The chat page in Chromium against the real server: two tabs talk, the server restarts, everybody comes back.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { ChatServer, DEADLINE, connect, needsServer } from './support.mjs';

const EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> & "quotes"';
const RECONNECT_DEADLINE = 40_000;  // the waits of the first few attempts

let server;
let browser;
let context;
let complaints = [];

before(async () => {
  if (needsServer.skip) return;
  server = await ChatServer.create();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});

afterEach(async () => {
  await context?.close();
  context = null;
  assert.deepEqual(complaints.splice(0), []);
});

after(async () => {
  await browser?.close();
  if (server) assert.equal(await server.stop(), 0);
});

async function newContext(width, height, options = {}) {
  context = await browser.newContext({ viewport: { width, height }, locale: 'en-GB', ...options });
  context.setDefaultTimeout(DEADLINE);
}

/** A tab with the page; what its console reports is a failure of the test, lost connections aside. */
async function newTab(prepare = () => {}) {
  const page = await context.newPage();
  await prepare(page);
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() !== 'error' && message.type() !== 'warning') return;
    if (/^WebSocket connection to .* failed/.test(message.text())) return;
    if (/^Connection failed: /.test(message.text())) return;
    complaints.push(`${message.type()}: ${message.text()}`);
  });
  await page.goto(server.page);
  return page;
}

/** A tab whose connections to the server can be closed from here: closeFromServer({code, reason}). */
async function newRoutedTab() {
  let route;
  const page = await newTab((tab) => tab.routeWebSocket(server.url, (socket) => {
    route = socket;
    socket.connectToServer();
  }));
  return { page, closeFromServer: (why) => route.close(why) };
}

async function join(username) {
  const page = await newTab();
  await page.getByLabel('Your name').fill(username);
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByText(`You joined as ${username}`).waitFor();
  return page;
}

async function say(page, text) {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByLabel('Message', { exact: true }).press('Enter');
}

const notice = (page, text) => page.locator('.notice', { hasText: text }).waitFor();
const bubble = (page, text) => page.locator('.bubble', { hasText: text });
const state = (page, name) => page.locator(`#badge[data-state="${name}"]`)
  .waitFor({ timeout: RECONNECT_DEADLINE });

async function users(page, names) {
  await page.waitForFunction((expected) => {
    const shown = [...document.querySelectorAll('.user-name')].map((each) => each.textContent);
    return JSON.stringify(shown) === JSON.stringify(expected);
  }, names);
}

const fitsWidth = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth &&
  [...document.querySelectorAll('.bar > *, .composer, .banner')].every((each) => each.getBoundingClientRect().right <= innerWidth));

test('two tabs see each other, talk, and part', needsServer, async () => {
  await newContext(1280, 800);
  const ada = await join('Ada');
  await ada.getByText('No messages yet').waitFor();
  await users(ada, ['Ada (you)']);
  const ben = await join('Ben');
  await notice(ada, 'Ben joined');
  await users(ada, ['Ada (you)', 'Ben']);
  await users(ben, ['Ben (you)', 'Ada']);
  await state(ada, 'CONNECTED');

  await say(ada, 'hello Ben');
  await bubble(ben, 'hello Ben').waitFor();
  await say(ben, 'hello Ada\nhow are you?');
  await bubble(ada, 'hello Ada').waitFor();
  assert.equal(await bubble(ada, 'hello Ada').textContent(), 'hello Ada\nhow are you?');
  assert.equal(await ada.locator('.own .bubble').allTextContents().then(String), 'hello Ben');
  assert.equal(await ben.locator('.message:not(.own) .name').first().textContent(), 'Ada');
  assert.match(await ben.locator('.message time').first().getAttribute('datetime'), /^\d{4}-\d\d-\d\dT/);
  assert.equal(await ada.getByText('No messages yet').isVisible(), false);
  assert.equal(await ada.getByLabel('Message', { exact: true }).inputValue(), '');

  const cleo = await join('Cleo');  // who comes later sees what was said
  await bubble(cleo, 'hello Ben').waitFor();
  await cleo.close();
  await notice(ada, 'Cleo left');
  await ben.getByRole('button', { name: 'Leave' }).click();
  await notice(ada, 'Ben left');
  await users(ada, ['Ada (you)']);
  assert.equal(await ben.getByLabel('Your name').inputValue(), 'Ben');
});

test('markup in messages and names is text', needsServer, async () => {
  await newContext(1280, 800);
  const ada = await join('Ada');
  const ben = await join('<b>Ben</b>&lt;');
  await notice(ada, '<b>Ben</b>&lt; joined');
  await users(ada, ['Ada (you)', '<b>Ben</b>&lt;']);
  await say(ben, EVIL);
  for (const page of [ada, ben]) {
    await bubble(page, EVIL).last().waitFor();
    assert.equal(await page.locator('#chat img, #chat script, #chat b').count(), 0);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  }
});

test('a restarted server finds both tabs back in the chat', needsServer, async () => {
  await newContext(1280, 800);
  const ada = await join('Ada');
  const ben = await join('Ben');
  await say(ada, 'before the restart');
  await bubble(ben, 'before the restart').waitFor();
  await ben.getByLabel('Message', { exact: true }).fill('half a sente');

  assert.equal(await server.stop(), 0);
  for (const page of [ada, ben]) {
    await state(page, 'RECONNECTING');
    await page.getByText(/Next attempt in \d+ s/).waitFor();
    assert.match(await page.locator('#badge').textContent(), /^Reconnecting in \d+ s$/);
    assert.equal(await page.getByLabel('Message', { exact: true }).isDisabled(), true);
    assert.equal(await page.getByRole('button', { name: 'Send' }).isDisabled(), true);
  }

  await server.start();
  for (const page of [ada, ben]) await state(page, 'CONNECTED');
  await users(ada, ['Ada (you)', 'Ben']);
  await users(ben, ['Ben (you)', 'Ada']);
  assert.equal(await ben.getByLabel('Message', { exact: true }).inputValue(), 'half a sente');
  await say(ada, 'after the restart');
  await bubble(ben, 'after the restart').waitFor();
  await say(ben, 'welcome back');
  await bubble(ada, 'welcome back').waitFor();
  assert.equal(await bubble(ada, 'before the restart').count(), 1);
  assert.deepEqual(await ada.locator('.own .bubble').allTextContents().then((all) => all.slice(-2)),
    ['before the restart', 'after the restart']);
});

test('what was missed is shown after a reconnection, once', needsServer, async () => {
  await newContext(1280, 800);
  const ada = await join('Ada');
  await say(ada, 'heard');
  await bubble(ada, 'heard').waitFor();
  await ada.close();
  const { page: tab, closeFromServer } = await newRoutedTab();
  await tab.getByRole('button', { name: 'Connect' }).click();  // the name is remembered
  await tab.getByText('You joined as Ada').waitFor();
  await bubble(tab, 'heard').waitFor();

  await closeFromServer({ code: 1012, reason: 'Service restart' });
  await state(tab, 'RECONNECTING');
  const other = await connect(server.url);
  other.send(1, { message: 'missed' });
  await other.nextOf(1);
  await tab.getByRole('button', { name: 'Try now' }).click();
  await notice(tab, 'You are back online');
  await bubble(tab, 'missed').waitFor();
  assert.equal(await bubble(tab, 'heard').count(), 1);
  await other.close();
});

test('a closed connection says why and can be opened again', needsServer, async () => {
  await newContext(1280, 800);
  const { page, closeFromServer } = await newRoutedTab();
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('Your name').press('Enter');
  await page.getByText('You joined as Ada').waitFor();
  await closeFromServer({ code: 1008, reason: 'Rate limit exceeded' });
  await state(page, 'CLOSED');
  await page.getByRole('alert').filter({ hasText: 'Rate limit exceeded (1008)' }).waitFor();
  await page.getByRole('button', { name: 'Connect again' }).click();
  await state(page, 'CONNECTED');
});

test('the join screen explains what is wrong', needsServer, async () => {
  await newContext(360, 740);
  const page = await newTab();
  assert.equal(await page.getByLabel('Server').inputValue(), server.url);
  assert.equal(await page.getByLabel('Your name').getAttribute('maxlength'), '20');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByRole('alert').filter({ hasText: 'your name' }).waitFor();
  await page.getByLabel('Your name').fill('Ada');
  await page.getByLabel('Server').fill('http://nowhere');
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByRole('alert').filter({ hasText: 'such as ws://' }).waitFor();
  await page.getByLabel('Server').fill(server.url.replace('/ws', '/elsewhere'));
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByRole('alert').filter({ hasText: 'Cannot reach' }).waitFor();
  await page.getByLabel('Server').fill(server.url);
  await page.getByRole('button', { name: 'Connect' }).click();
  await page.getByText('You joined as Ada').waitFor();

  await page.goto(server.origin);
  assert.equal(await page.getByLabel('Server').inputValue(), 'ws://127.0.0.1:8080/ws');
  assert.equal(await page.getByLabel('Your name').inputValue(), 'Ada');
});

test('the reader of older messages is left in peace', needsServer, async () => {
  await newContext(1280, 800);
  const ada = await join('Ada');
  const ben = await join('Ben');
  for (let line = 1; line <= 30; line += 1) await say(ben, `line ${line}`);
  await bubble(ada, 'line 30').waitFor();
  const fromBottom = () => ada.evaluate(() => {
    const log = document.getElementById('log');
    return log.scrollHeight - log.scrollTop - log.clientHeight;
  });
  assert.ok(await fromBottom() < 2, 'follows while at the end');

  await ada.evaluate(() => new Promise((resolve) => {
    const log = document.getElementById('log');
    log.addEventListener('scroll', resolve, { once: true });
    log.scrollTop = 0;
  }));
  await say(ben, 'down here');
  await ada.getByRole('button', { name: '1 new message' }).waitFor();
  assert.equal(await ada.evaluate(() => document.getElementById('log').scrollTop), 0);
  await ada.getByRole('button', { name: '1 new message' }).click();
  assert.ok(await fromBottom() < 2);
  assert.equal(await ada.locator('#newer').isVisible(), false);

  await ada.getByLabel('Message', { exact: true }).fill('a draft\n'.repeat(5));  // makes the conversation smaller
  await ada.waitForFunction(() => {
    const log = document.getElementById('log');
    return log.clientHeight < 600 && log.scrollHeight - log.scrollTop - log.clientHeight < 2;
  });
});

test('the page fits a phone, with the people in a drawer', needsServer, async () => {
  await newContext(360, 740, { hasTouch: true, isMobile: true, colorScheme: 'dark' });
  const ada = await join('Ada');
  const ben = await join('Ben of a very long n');
  await say(ben, `${'wide'.repeat(60)}\n${EVIL}`);
  await bubble(ada, 'wide').last().waitFor();
  assert.equal(await fitsWidth(ada), true);
  const composer = await ada.locator('.composer').boundingBox();
  assert.ok(composer.y + composer.height <= 740);

  assert.equal(await ada.locator('#users').isVisible(), false);
  await ada.getByRole('button', { name: 'People online' }).tap();
  await ada.getByRole('heading', { name: 'Online' }).waitFor();
  await users(ada, ['Ada (you)', 'Ben of a very long n']);
  await ada.getByRole('button', { name: 'Close the list' }).tap();
  await ada.locator('#users').waitFor({ state: 'hidden' });
  await ada.getByRole('button', { name: 'People online' }).tap();
  await ada.keyboard.press('Escape');
  await ada.locator('#users').waitFor({ state: 'hidden' });

  assert.equal(await server.stop(), 0);
  await state(ada, 'RECONNECTING');
  assert.equal(await fitsWidth(ada), true);
  await server.start();
  await state(ada, 'CONNECTED');
});

test('the module exports what the script sets', needsServer, async () => {
  await newContext(1280, 800);
  const page = await newTab();
  assert.equal(await page.evaluate(async () => {
    const before = window.KephasConnectionState;
    const module = await import('/kephas-client.mjs');
    return before.CLOSED === 'CLOSED' && module.KephasClient === window.KephasClient && module.default === module.KephasClient;
  }), true);
});
