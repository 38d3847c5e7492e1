// The demo page: choose a provider, press one button, and a terminal fills the window.

import { Refusal, listProviders, login, mintSession } from './api.js';
import { selectedChoice, showProviders } from './chooser.js';
import { comeBack } from './reconnect.js';
import { Attachment, Ledger } from './session.js';
import { openTerminal } from './terminal.js';
import { themeSwitch } from './theme.js';
import { WirePanel } from './wire.js';
import { PASTE_REFUSED, describeEnding, describeLock, describeNotice, describeRefusal } from './words.js';

/** Characters of a remote title that are shown. */
const TITLE_LIMIT = 80;

const $ = (id) => document.getElementById(id);

/** What is shown: the providers, and the one terminal with what it is attached by. */
const page = { providers: [], provider: null, screen: null, attachment: null, ledger: null, returning: null, visit: 0 };

const wire = new WirePanel($('wire'), $('wire-toggle'), () => ({
  attachment: page.attachment,
  size: page.screen?.size(),
  provider: page.provider,
}));

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
    if (visit !== page.visit) return;
    page.providers = providers;
    unlock();
  } catch (error) {
    if (visit !== page.visit) return;
    lock(loginRefusal instanceof Refusal ? loginRefusal : refusalOnly(error), hadSecret);
  }
}

function unlock() {
  $('locked').hidden = true;
  $('providers').hidden = false;
  showProviders($('provider-list'), page.providers, page.provider?.name);
  state('quiet', 'Ready');
  selectedChoice($('provider-list'))?.focus();
}

function lock(refusal, hadSecret) {
  const words = describeLock(refusal, hadSecret);
  $('locked-title').textContent = words.title;
  $('locked-words').textContent = words.words;
  $('locked').hidden = false;
  $('providers').hidden = true;
  state('bad', words.state);
}

/** Opens a terminal at `provider` by a new link. */
async function startTerminal(provider) {
  if (!provider) return;
  closeTerminal();
  page.provider = provider;
  const visit = ++page.visit;
  view('session');
  $('ending').hidden = true;
  $('session-title').textContent = `Terminal at ${provider.title}`;
  page.screen = openTerminal($('terminal'), {
    text: (text) => {
      if (page.attachment && !page.attachment.sendText(text)) state('warn', PASTE_REFUSED);
    },
    bytes: (bytes) => page.attachment?.sendBytes(bytes),
    size: (size) => page.attachment?.resize(size),
    title: (title) => titled(title),
    leave: () => ($('leave').hidden ? $('again') : $('leave')).focus(),
  });
  page.screen.terminal.focus();
  state('busy', `Asking for a link to ${provider.title}…`);
  try {
    const { url } = await mintSession(provider, page.screen.size());
    if (visit !== page.visit) return;
    page.ledger = new Ledger();
    attach(url);
  } catch (error) {
    const refusal = refusalOnly(error);
    if (visit === page.visit) finish(describeRefusal(refusal), () => startTerminal(provider));
  }
}

/**
 * Redeems a link for the terminal that is shown. `ended` has the first word on how it came out.
 * @param {(ending: object, attachment: Attachment) => boolean} [ended] true when it took care of it
 */
function attach(url, ended = () => false) {
  const { provider, screen } = page;
  wire.reset();
  $('ending').hidden = true;
  $('leave').hidden = false;
  state('busy', `Connecting to ${provider.title}…`);
  const attachment = new Attachment(
    url,
    {
      ready: ({ cols, rows }) => {
        page.returning?.done();
        page.returning = null;
        state('live', `Connected to ${provider.title}`);
        screen.accept(true);
        screen.terminal.focus();
        const size = screen.size();
        // The window may have changed since the link was asked for.
        if (size.cols !== cols || size.rows !== rows) attachment.resize(size);
      },
      output: (bytes, done) => {
        // What still arrives for a terminal that was left has nowhere to go.
        if (page.attachment === attachment) screen.terminal.write(bytes, done);
        else done();
      },
      notice: (message) => {
        if (page.attachment === attachment) state('warn', describeNotice(message));
      },
      end: (ending) => {
        if (page.attachment !== attachment || ended(ending, attachment)) return;
        if (resumable(ending, attachment)) reconnect(attachment, ending);
        else over(ending);
      },
    },
    page.ledger,
  );
  page.attachment = attachment;
}

/** Whether the session is still there, and there is a link that leads back to it. */
function resumable({ kind, code }, { resumeLink }) {
  return resumeLink !== null && (kind === 'lost' || code === 'fell_behind');
}

/** Comes back to a session by the newest link of its last attachment, as often as it takes. */
function reconnect(last, ending) {
  const { resumeLink, offset } = last;
  page.returning?.done();
  page.returning = comeBack(resumeLink.expiresAt, {
    wait: (seconds) => state('warn', `Connection lost. Coming back in ${seconds} s; what you type is kept.`),
    tryOnce: (again) => {
      attach(withOffset(resumeLink.url, offset), (failure, attachment) => {
        if (attachment.resumeLink !== null) return false;
        // It never got there. Whether the link was refused or nobody answered makes the difference.
        if (failure.closeCode !== 1006 && failure.closeCode !== 1005) return false;
        again();
        return true;
      });
      state('warn', 'Connection lost. Coming back…');
    },
    giveUp: () => over(ending),
  });
}

/** The session is over, or cannot be found again. */
function over(ending) {
  const { provider } = page;
  page.returning?.done();
  page.returning = null;
  finish(describeEnding(ending, provider.title), () => startTerminal(provider));
}

/** Tells how it ended and offers the way on. What the terminal shows stays readable. */
function finish({ tone, headline, detail, again }, proceed) {
  page.screen?.accept(false);
  $('leave').hidden = true;
  $('ending').dataset.tone = tone;
  $('ending-title').textContent = headline;
  $('ending-detail').textContent = detail;
  $('ending').hidden = false;
  $('again').textContent = again;
  $('again').onclick = proceed;
  state(tone, headline);
  $('again').focus();
}

/** Ends the session; pressed before there is one, or a second time, it just goes back. */
function leave() {
  const { attachment } = page;
  if (!attachment?.live || $('leave').dataset.pressed) {
    showChooser();
    return;
  }
  $('leave').dataset.pressed = 'yes';
  state('busy', 'Ending the session…');
  attachment.end();
}

function closeTerminal() {
  const { attachment, screen } = page;
  page.visit += 1;
  page.returning?.done();
  page.returning = null;
  page.attachment = null;
  page.screen = null;
  attachment?.end();
  screen?.dispose();
  wire.show(false);
  delete $('leave').dataset.pressed;
  $('leave').hidden = false;
  document.title = 'polytty';
}

function view(name) {
  document.body.dataset.view = name;
  $('chooser').hidden = name !== 'chooser';
  $('session').hidden = name !== 'session';
}

function state(tone, words) {
  $('state').dataset.tone = tone;
  $('state-words').textContent = words;
}

function titled(title) {
  const shown = title.slice(0, TITLE_LIMIT);
  document.title = shown ? `${shown} – polytty` : 'polytty';
}

function withOffset(url, offset) {
  const resumed = new URL(url);
  resumed.searchParams.set('offset', offset);
  return resumed.href;
}

/** Refusals are told in words; anything else is a mistake of this page and belongs in the console. */
function refusalOnly(error) {
  if (error instanceof Refusal) return error;
  throw error;
}
