// The demo page: choose a provider, press one button, and a terminal fills the window.

import { Refusal, listProviders, listSessions, login, mintLink, mintSession, showSession } from './api.js';
import { selectedChoice, showProviders } from './chooser.js';
import { $, hideEnding, showEnding, state, titled } from './frame.js';
import { Line } from './line.js';
import { Ledger } from './session.js';
import { isRecorded, showRecordings, showSessions } from './sessions.js';
import { SharePanel } from './share.js';
import { openTerminal } from './terminal.js';
import { themeSwitch } from './theme.js';
import { WirePanel } from './wire.js';
import { PASTE_REFUSED, describeEnding, describeLock, describeNotice, describeRefusal } from './words.js';

/** Ended sessions that are listed at most; the page that replays lists all. */
const ENDED = 5;

/** What is shown: the providers, and the one terminal with the line to its session. */
const page = { providers: [], provider: null, screen: null, line: null, visit: 0 };

const wire = new WirePanel($('wire'), $('wire-toggle'), () => ({
  attachment: page.line?.attachment ?? null,
  size: page.screen?.size(),
  provider: page.provider,
}));

const share = new SharePanel(
  () => page.line?.attachment.facts.session ?? null,
  () => wire.show(false),
);
$('wire-toggle').addEventListener('click', () => share.show(false));

themeSwitch($('theme'), () => page.screen?.restyle());
$('providers').addEventListener('submit', (event) => {
  event.preventDefault();
  const name = selectedChoice($('provider-list'))?.value;
  startTerminal(page.providers.find((provider) => provider.name === name));
});
$('provider-list').addEventListener('dblclick', () => $('providers').requestSubmit());
$('leave').addEventListener('click', leave);
$('back').addEventListener('click', () => showChooser());
window.addEventListener('hashchange', () => {
  if (page.screen === null) enter();
});
enter();

/** Signs in with the fragment, if there is one, and shows the providers. */
async function enter() {
  const secret = location.hash.slice(1);
  let refusal = null;
  if (secret) {
    // Off the address bar first: it must not linger in the history or be copied from there.
    history.replaceState(null, '', location.pathname);
    refusal = await login(secret).then(() => null, refusalOnly);
  }
  await showChooser(refusal, secret !== '');
}

/** Shows the providers; a spent address does no harm where the cookie is there already. */
async function showChooser(loginRefusal = null, hadSecret = false) {
  closeTerminal();
  view('chooser');
  state('busy', 'Asking for the providers…');
  const visit = ++page.visit;
  try {
    const providers = await listProviders();
    const sessions = await listSessions();
    if (visit !== page.visit) return;
    page.providers = providers;
    unlock(sessions);
  } catch (error) {
    if (visit !== page.visit) return;
    lock(loginRefusal instanceof Refusal ? loginRefusal : refusalOnly(error), hadSecret);
  }
}

function unlock(sessions) {
  $('locked').hidden = true;
  $('providers').hidden = false;
  showProviders($('provider-list'), page.providers, page.provider?.name);
  showSessions($('sessions'), sessions, page.providers, takeUp);
  const ended = sessions.filter((session) => session.state === 'ended' && isRecorded(session));
  showRecordings($('ended'), ended, page.providers, ENDED);
  state('quiet', 'Ready');
  selectedChoice($('provider-list'))?.focus();
}

function lock(refusal, hadSecret) {
  const words = describeLock(refusal, hadSecret);
  $('locked-title').textContent = words.title;
  $('locked-words').textContent = words.words;
  $('locked').hidden = false;
  $('providers').hidden = true;
  $('sessions').hidden = true;
  $('ended').hidden = true;
  state('bad', words.state);
}

/** Opens a terminal at `provider` by a new link. */
async function startTerminal(provider) {
  if (!provider) return;
  await showTerminal(provider, `Asking for a link to ${provider.title}…`, (size) => mintSession(provider, size));
}

/** Goes on in a session that is there already, in place of whoever types there now. */
async function takeUp(session) {
  const provider = page.providers.find(({ name }) => name === session.provider) ?? { name: session.provider, title: session.provider, kind: session.kind };
  await showTerminal(provider, `Asking for a link to the session at ${provider.title}…`, () => mintLink(session.id, 'writer'));
}

/** @param {(size: object) => Promise<{url: string}>} mint asks for the link */
async function showTerminal(provider, words, mint) {
  closeTerminal();
  page.provider = provider;
  const visit = ++page.visit;
  view('session');
  hideEnding();
  $('session-title').textContent = `Terminal at ${provider.title}`;
  page.screen = openTerminal($('terminal'), {
    text: (text) => {
      if (page.line && !page.line.attachment.sendText(text)) state('warn', PASTE_REFUSED);
    },
    bytes: (bytes) => page.line?.attachment.sendBytes(bytes),
    size: (size) => page.line?.attachment.resize(size),
    title: titled,
    leave: () => ($('leave').hidden ? $('again') : $('leave')).focus(),
  });
  page.screen.terminal.focus();
  state('busy', words);
  try {
    const { url } = await mint(page.screen.size());
    if (visit === page.visit) attach(url);
  } catch (error) {
    const refusal = refusalOnly(error);
    if (visit === page.visit) finish(describeRefusal(refusal));
  }
}

/** Redeems a link for the terminal that is shown. */
function attach(url) {
  const { provider, screen } = page;
  page.line = new Line(
    url,
    {
      connecting: () => {
        wire.reset();
        hideEnding();
        $('leave').hidden = false;
        state('busy', `Connecting to ${provider.title}…`);
      },
      ready: ({ cols, rows }, attachment) => {
        state('live', `Connected to ${provider.title}`);
        screen.accept(true);
        if (!$('sharing').contains(document.activeElement)) screen.terminal.focus();
        const size = screen.size();
        // The window may have changed since the link was asked for.
        if (size.cols !== cols || size.rows !== rows) attachment.resize(size);
      },
      output: (bytes, done) => screen.terminal.write(bytes, done),
      notice: (message, returned) => state('warn', describeNotice(message, returned)),
      size: () => {},
      viewers: (count) => share.viewers(count),
      lost: (seconds) => {
        const when = seconds > 0 ? `Coming back in ${seconds} s; what you type is kept.` : 'Coming back…';
        state('warn', `Connection lost. ${when}`);
      },
      end: (ending) => finish(describeEnding(ending, provider.title)),
    },
    new Ledger(),
  );
}

/** It is over: what the terminal shows stays readable. */
function finish(ending) {
  const { provider } = page;
  page.screen?.accept(false);
  $('leave').hidden = true;
  $('share').hidden = true;
  share.show(false);
  share.viewers(0);
  $('replay').hidden = true;
  showEnding(ending, () => startTerminal(provider));
  offerReplay(page.line);
}

/** Shows the way to what was recorded of a session that has ended, if anything was. */
async function offerReplay(line) {
  const id = line?.attachment.facts.session ?? null;
  if (id === null) return;
  try {
    const session = await showSession(id);
    if (page.line !== line || !isRecorded(session)) return;
    $('replay').href = `/replay?session=${id}`;
    $('replay').hidden = false;
  } catch (error) {
    // It is an extra: without an answer there is none.
    refusalOnly(error);
  }
}

/** Ends the session; pressed before there is one, or a second time, it just goes back. */
function leave() {
  const attachment = page.line?.attachment;
  if (!attachment?.live || $('leave').dataset.pressed) {
    showChooser();
    return;
  }
  $('leave').dataset.pressed = 'yes';
  state('busy', 'Ending the session…');
  attachment.end();
}

function closeTerminal() {
  const { line, screen } = page;
  page.visit += 1;
  page.line = null;
  page.screen = null;
  line?.leave();
  line?.attachment.end();
  screen?.dispose();
  wire.show(false);
  share.show(false);
  share.viewers(0);
  $('share').hidden = false;
  delete $('leave').dataset.pressed;
  $('leave').hidden = false;
  document.title = 'polytty';
}

function view(name) {
  document.body.dataset.view = name;
  $('chooser').hidden = name !== 'chooser';
  $('session').hidden = name !== 'session';
}

/** Refusals are told in words; anything else is a mistake of this page and belongs in the console. */
function refusalOnly(error) {
  if (error instanceof Refusal) return error;
  throw error;
}
