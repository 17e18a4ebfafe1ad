/*
 * The chat page. What it expects of the server, on top of the command protocol of kephas-client.js; all payloads
 * are JSON in UTF-8.
 *
 *   user     {id, username, joinedAt}               id: the client id; joinedAt: RFC 3339
 *   message  {username, message, timestamp, id}     id: the sender's; timestamp: RFC 3339 with at least milliseconds
 *
 *   client -> server
 *     0x0001 {message}     says something ("text" is accepted too): 1 to 2000 characters that are not all blank.
 *                          It comes back to everybody, the sender included, on 0x0001.
 *     0x0005 (empty)       asks who is online; answered on 0x0006, to the asker alone.
 *     0x0008 {username}    sets the name: 1 to 20 characters after blanks at both ends are cut, no control
 *                          characters. Names need not be unique. Answered on 0x0008 with the user as the server
 *                          knows it now: that is how a client learns its own id.
 *                          The first one makes the client a member: 0x0003 goes to everybody, itself included.
 *                          A later one with another name is a departure and an arrival: 0x0004 with the old name,
 *                          then 0x0003 with the new one (same id, new joinedAt). The same name again changes nothing.
 *   server -> client
 *     0x0001 message       to every connection, member or not
 *     0x0003 user          a member has joined
 *     0x0004 user          a member has left
 *     0x0006 [user, ...]   the members, in the order in which they joined
 *   JSON-RPC
 *     chat.history {limit} the latest messages, oldest first; limit 50 when it is missing, at most 100
 *
 * Before its first 0x0008 a client is not listed, joins and leaves unannounced, and what it says is signed
 * "Guest_" + the first 8 characters of its id. A command that is refused is answered on 0xFFFFFFFE with an error
 * whose message is fit for the user to read.
 */
(function () {
'use strict';

const CHAT = 0x0001;
const USER_JOINED = 0x0003;
const USER_LEFT = 0x0004;
const GET_USERS = 0x0005;
const USERS = 0x0006;
const USER_INFO = 0x0008;

const TITLE = document.title;
const MAX_ENTRIES = 500;           // older ones leave the page
const GROUP_MS = 5 * 60 * 1000;    // messages of one person within this time stand together
const JOIN_TIMEOUT_MS = 10000;
const NEAR_BOTTOM_PX = 60;

const $ = (id) => document.getElementById(id);
const wide = matchMedia('(min-width: 800px)');
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

let client = null;
let me = null;         // our user, once the server has answered 0x0008 on this connection
let wanted = '';       // the name to log in with
const scheme = location.protocol === 'https:' ? 'wss' : 'ws';  // a page that came over TLS may open nothing else
let joining = null;    // {resolve, reject, timer} between the click on Connect and the first answer
const myIds = new Set(load(sessionStorage, 'kephas-chat.ids', '').split(' ').filter(Boolean));

// --- storage that may be switched off ---

function load(storage, key, fallback) {
  try {
    return storage.getItem(key) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // private windows: nothing is remembered
  }
}

// --- small helpers; text gets into the page through textContent only ---

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function json(payload) {
  return JSON.parse(new TextDecoder().decode(payload));
}

function plural(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

function avatar(user) {
  const words = user.username.replace(/^Guest_/, '').split(/[\s_.-]+/).filter(Boolean);
  const letters = words.length > 1 ? [...words[0]][0] + [...words[1]][0] : [...(words[0] ?? '?')].slice(0, 2).join('');
  const element = make('span', 'avatar', letters.toUpperCase());
  element.setAttribute('aria-hidden', 'true');
  let hue = 0;
  for (const letter of user.username) hue = (hue * 31 + letter.codePointAt(0)) % 360;
  element.style.setProperty('--hue', hue);
  return element;
}

function dateOf(text) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? new Date() : date;
}

// --- the conversation: messages and notices, ordered by time ---

const log = $('log');
const items = $('items');
const entries = [];       // {key, date, element, day, message?}
const seen = new Set();   // messages that are shown: history after a reconnection overlaps
let unread = 0;           // below the fold
let unreadHidden = 0;     // while the tab is in the background

function identity(message) {
  return `${message.id} ${message.timestamp} ${message.message}`;
}

function addMessage(message, { live }) {
  if (seen.has(identity(message))) return;
  seen.add(identity(message));
  const own = myIds.has(message.id);
  const date = dateOf(message.timestamp);

  const element = make('li', own ? 'message own' : 'message');
  const body = make('div', 'body');
  const meta = make('div', 'meta');
  const name = make('span', 'name', own ? 'You' : message.username);
  name.dir = 'auto';
  const time = make('time', '', timeFormat.format(date));
  time.dateTime = date.toISOString();
  time.title = fullFormat.format(date);
  const bubble = make('div', 'bubble', message.message);
  bubble.dir = 'auto';
  bubble.title = fullFormat.format(date);
  meta.append(name, ' ', time);
  body.append(meta, bubble);
  element.append(avatar(message), body);

  insert({ date, element, message }, { live, own });
  if (live && !own && document.hidden) {
    unreadHidden += 1;
    showTitle();
  }
}

function addNotice(before, username, after) {
  const element = make('li', 'notice');
  element.append(before, make('bdi', '', username), after);
  insert({ date: new Date(), element }, { live: true, own: false });
}

/** What is live goes to the end, whatever the clocks say; history to its place. */
function insert(entry, { live, own }) {
  const follow = own || pinned;
  const last = entries.at(-1);
  entry.key = entry.date.getTime();
  if (live && last) entry.key = Math.max(entry.key, last.key);
  let index = entries.length;
  while (index > 0 && entries[index - 1].key > entry.key) index -= 1;

  const next = entries[index];
  items.insertBefore(entry.element, next ? next.day ?? next.element : null);
  entries.splice(index, 0, entry);
  if (live) entry.element.classList.add('live');
  arrange(index);
  arrange(index + 1);
  if (entries.length > MAX_ENTRIES) dropOldest();
  $('empty').hidden = entries.some((each) => each.message);

  if (follow) {
    toBottom();
  } else if (live && entry.message) {
    unread += 1;
    showNewer();
  }
}

/** Day line and grouping of one entry follow from the entry before it. */
function arrange(index) {
  const entry = entries[index];
  if (!entry) return;
  const previous = entries[index - 1];
  const newDay = !previous || !sameDay(previous.date, entry.date);
  const needsLine = newDay && (previous !== undefined || !sameDay(entry.date, new Date()));
  if (needsLine && !entry.day) {
    entry.day = make('li', 'day');
    items.insertBefore(entry.day, entry.element);
    for (const each of entries) {  // a page that stays open overnight: what was "Today" is "Yesterday" now
      if (each.day) each.day.textContent = dayName(each.date);
    }
  } else if (!needsLine && entry.day) {
    entry.day.remove();
    entry.day = null;
  }
  if (!entry.message) return;
  const grouped = !newDay && previous.message && previous.message.id === entry.message.id &&
    previous.message.username === entry.message.username && entry.date - previous.date < GROUP_MS;
  entry.element.classList.toggle('first', !grouped);
}

function sameDay(a, b) {
  return a.toDateString() === b.toDateString();
}

function dayName(date) {
  const day = new Date();
  if (sameDay(date, day)) return 'Today';
  day.setDate(day.getDate() - 1);
  return sameDay(date, day) ? 'Yesterday' : dayFormat.format(date);
}

function dropOldest() {
  const [oldest] = entries.splice(0, 1);
  oldest.day?.remove();
  oldest.element.remove();
  if (oldest.message) seen.delete(identity(oldest.message));
  arrange(0);
}

function clearConversation() {
  entries.length = 0;
  seen.clear();
  items.replaceChildren();
  $('empty').hidden = false;
  unread = unreadHidden = 0;
  showNewer();
  showTitle();
}

// --- scrolling: follow the end only while the reader is there ---

let pinned = true;

function toBottom() {
  log.scrollTop = log.scrollHeight;
  pinned = true;
  unread = 0;
  showNewer();
}

function showNewer() {
  $('newer').hidden = unread === 0;
  $('newer-text').textContent = plural(unread, 'new message', 'new messages');
}

let lastTop = 0;
log.addEventListener('scroll', () => {
  const nearBottom = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_BOTTOM_PX;
  if (nearBottom) pinned = true;
  else if (log.scrollTop < lastTop) pinned = false;  // only the reader scrolls up; what comes below does not
  lastTop = log.scrollTop;
  if (pinned && unread > 0) {
    unread = 0;
    showNewer();
  }
}, { passive: true });

new ResizeObserver(() => {  // the keyboard of a phone, a taller composer, a banner
  if (pinned) log.scrollTop = log.scrollHeight;
}).observe(log);

$('newer').addEventListener('click', () => {
  toBottom();
  $('text').focus();
});

function showTitle() {
  document.title = unreadHidden > 0 ? `(${unreadHidden}) ${TITLE}` : TITLE;
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unreadHidden = 0;
  showTitle();
  if (client?.getState() === 'RECONNECTING') retry();
});

// --- people ---

const users = new Map();

function showUsers() {
  const sorted = [...users.values()].sort((a, b) =>
    (b.id === me?.id) - (a.id === me?.id) || a.username.localeCompare(b.username));
  $('users-list').replaceChildren(...sorted.map((user) => {
    const element = make('li');
    const text = make('div', 'user-text');
    const name = make('div', 'user-name', user.username);
    name.dir = 'auto';
    name.title = user.username;
    if (user.id === me?.id) name.append(make('span', '', ' (you)'));
    text.append(name, make('div', 'user-since', `since ${timeFormat.format(dateOf(user.joinedAt))}`));
    element.append(avatar(user), text);
    return element;
  }));
  $('users-total').textContent = users.size;
  $('users-count').textContent = users.size;
}

function showDrawer(open) {
  const drawer = open && !wide.matches;
  $('users').classList.toggle('open', drawer);
  $('users').inert = !drawer && !wide.matches;
  $('room').inert = drawer;
  $('veil').hidden = !drawer;
  $('users-button').setAttribute('aria-expanded', String(drawer));
}

$('users-button').addEventListener('click', () => {
  showDrawer(true);
  $('users-close').focus();
});
function closeDrawer() {
  if (!$('users').classList.contains('open')) return;
  showDrawer(false);
  $('users-button').focus();
}
$('users-close').addEventListener('click', closeDrawer);
$('veil').addEventListener('click', closeDrawer);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') closeDrawer();
});
wide.addEventListener('change', () => showDrawer(false));
showDrawer(false);

// --- state of the connection ---

let reconnectAt = 0;
let countdownTimer = null;
let closedBecause = '';

const statusText = {
  CONNECTING: 'Connecting',
  CONNECTED: 'Connected',
  RECONNECTING: 'Reconnecting',
  DISCONNECTED: 'Closed',
  CLOSED: 'Closed',
};

function showState(state) {
  const online = state === 'CONNECTED' && me !== null;
  const closed = state === 'CLOSED' || state === 'DISCONNECTED';
  const shown = state === 'CONNECTED' && !online ? 'CONNECTING' : state;  // until the server knows our name
  $('badge').dataset.state = shown;
  if ($('status').textContent !== statusText[shown]) $('status').textContent = statusText[shown];
  $('chat').classList.toggle('offline', !online);

  const banner = $('banner');
  banner.hidden = online;
  banner.classList.toggle('closed', closed);
  banner.setAttribute('role', closed ? 'alert' : 'group');
  $('retry').textContent = closed ? 'Connect again' : 'Try now';
  $('retry').hidden = shown === 'CONNECTING';

  clearInterval(countdownTimer);
  if (state === 'RECONNECTING') countdownTimer = setInterval(showCountdown, 250);
  showCountdown();
  setComposer(online);
}

function showCountdown() {
  const state = client?.getState();
  const seconds = Math.max(1, Math.ceil((reconnectAt - performance.now()) / 1000));
  const waiting = state === 'RECONNECTING';
  $('countdown').textContent = waiting ? ` in ${seconds} s` : '';
  if (waiting) $('banner-text').textContent = `Connection lost. Next attempt in ${seconds} s.`;
  else if (state === 'CLOSED' || state === 'DISCONNECTED') $('banner-text').textContent = closedBecause;
  else $('banner-text').textContent = 'Connecting …';
}

function retry() {
  client.connect().catch(() => {});  // the state shows how it went
}

$('retry').addEventListener('click', retry);
addEventListener('online', () => {
  if (client?.getState() === 'RECONNECTING') retry();
});

// --- the connection ---

function open(url) {
  const opened = new KephasClient({ url });

  opened.onConnect = () => opened.sendJSON(USER_INFO, { username: wanted });
  opened.onStateChange = (state, { delay }) => {
    if (state !== 'CONNECTED') me = null;
    reconnectAt = performance.now() + delay;
    showState(state);
  };
  opened.onDisconnect = ({ code, reason, willReconnect }) => {
    const why = reason ? `${reason} (${code})` : `code ${code}`;
    if (!willReconnect) closedBecause = `Disconnected: ${why}.`;
    showState(opened.getState());
    failJoin(new Error(`The server has closed the connection: ${why}.`));
  };
  opened.onError = (error) => {
    if (typeof error.code !== 'number') console.warn(error.message);
    else if (joining) failJoin(error);
    else showSendError(error.message);
  };

  opened.on(USER_INFO, (payload) => joined(json(payload)));
  opened.on(CHAT, (payload) => addMessage(json(payload), { live: true }));
  opened.on(USERS, (payload) => {
    users.clear();
    for (const user of json(payload)) users.set(user.id, user);
    showUsers();
  });
  opened.on(USER_JOINED, (payload) => {
    const user = json(payload);
    users.set(user.id, user);
    showUsers();
    if (me && user.id !== me.id) addNotice('', user.username, ' joined');
  });
  opened.on(USER_LEFT, (payload) => {
    const user = json(payload);
    users.delete(user.id);
    showUsers();
    if (me && user.id !== me.id) addNotice('', user.username, ' left');
  });
  return opened;
}

/** The server knows us by name now: at the start, and again after each reconnection. */
async function joined(user) {
  const first = joining !== null;
  me = user;
  myIds.add(user.id);
  store(sessionStorage, 'kephas-chat.ids', [...myIds].slice(-20).join(' '));
  if (first) {
    clearTimeout(joining.timer);
    joining.resolve();
    joining = null;
  }
  showState(client.getState());
  client.send(GET_USERS).catch(() => {});
  try {
    const history = await client.sendJSONRPC('chat.history', { limit: 50 });
    log.setAttribute('aria-busy', 'true');
    for (const message of history) addMessage(message, { live: false });
  } catch (error) {
    console.warn(`No history: ${error.message}`);  // the chat works without it
  }
  log.removeAttribute('aria-busy');
  if (first) toBottom();
  if (me?.id === user.id) addNotice(first ? 'You joined as ' : 'You are back online as ', user.username, '');
}

function failJoin(error) {
  if (!joining) return;
  clearTimeout(joining.timer);
  joining.reject(error);
  joining = null;
}

// --- the join screen ---

const joinForm = $('join-form');

function defaultUrl() {
  const given = new URLSearchParams(location.search).get('ws');
  if (given) return given;
  return `${scheme}://${location.hostname || 'localhost'}:8080/ws`;
}

function showJoinError(text, field) {
  $('join-error').textContent = text;
  for (const input of [$('username'), $('url')]) {
    if (input === field) input.setAttribute('aria-invalid', 'true');
    else input.removeAttribute('aria-invalid');
  }
  field?.focus();
}

function serverUrl(text) {
  try {
    const url = new URL(text.includes('://') ? text : `${scheme}://${text}`);
    return url.protocol === 'ws:' || url.protocol === 'wss:' ? url.href : null;
  } catch {
    return null;
  }
}

joinForm.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (joining) return;
  wanted = $('username').value.trim();
  if (!wanted) return showJoinError('Please tell your name.', $('username'));
  const url = serverUrl($('url').value.trim());
  if (!url) return showJoinError('The server is an address such as ws://localhost:8080/ws.', $('url'));

  showJoinError('');
  $('join-button').disabled = true;
  $('join-button').textContent = 'Connecting …';
  const answered = new Promise((resolve, reject) => {
    const timer = setTimeout(() => failJoin(new Error('The server does not answer.')), JOIN_TIMEOUT_MS);
    joining = { resolve, reject, timer };
  });
  client = open(url);
  const attempt = client;
  attempt.connect().catch(() => failJoin(new Error(`Cannot reach ${url}. Is the server running?`)));
  try {
    await answered;
    store(localStorage, 'kephas-chat.username', wanted);
    showScreen('chat');
  } catch (error) {
    attempt.disconnect();
    client = null;
    showJoinError(error.message, typeof error.code === 'number' ? $('username') : null);  // a refused name
  }
  $('join-button').disabled = false;
  $('join-button').textContent = 'Connect';
});

$('leave').addEventListener('click', () => {
  client.disconnect();
  client = null;
  users.clear();
  clearConversation();
  showSendError('');
  showDrawer(false);
  showScreen('join');
});

function showScreen(name) {
  $('join').hidden = name !== 'join';
  $('chat').hidden = name !== 'chat';
  if (name === 'chat') {
    toBottom();
    if (matchMedia('(pointer: fine)').matches) text.focus();  // elsewhere the keyboard would hide the chat
  } else {
    $('username').focus();
  }
}

// --- writing ---

const text = $('text');
let focusLost = false;

function setComposer(online) {
  if (!online && document.activeElement === text) focusLost = true;
  text.disabled = !online;
  text.placeholder = online ? 'Write a message' : 'You are offline';
  if (online && focusLost && document.activeElement === document.body) text.focus();
  if (online) focusLost = false;
  showSendButton();
}

function showSendButton() {
  $('send').disabled = text.disabled || text.value.trim() === '';
}

function fitText() {
  text.style.height = 'auto';
  text.style.height = `${text.scrollHeight}px`;
}

function showSendError(message) {
  $('send-error').textContent = message;
}

text.addEventListener('input', () => {
  fitText();
  showSendButton();
  showSendError('');
});

text.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('composer').requestSubmit();
});

$('composer').addEventListener('submit', async (event) => {
  event.preventDefault();
  const message = text.value.trim();
  if (!message || !me) return;
  try {
    await client.sendJSON(CHAT, { message });
  } catch (error) {
    showSendError(`Not sent: ${error.message}`);
    return;
  }
  text.value = '';
  fitText();
  showSendButton();
  showSendError('');
  toBottom();
});

$('username').value = load(localStorage, 'kephas-chat.username', '');
$('url').value = defaultUrl();
if ($('username').value && matchMedia('(pointer: fine)').matches) $('username').select();
else if (!$('username').value) $('username').focus();
})();
