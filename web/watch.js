// The page that watches: a viewer link in the fragment, and a terminal that takes no keys.

import { Refusal, isSignedIn, listSessions, mintLink } from './api.js';
import { $, hideEnding, showEnding, state, titled } from './frame.js';
import { Line } from './line.js';
import { Ledger } from './session.js';
import { openMirror } from './terminal.js';
import { themeSwitch } from './theme.js';
import { describeNothingToWatch, describeNotice, describeRefusal, describeWatched } from './words.js';

/** What stands behind `/t/` in a link. */
const TICKET = /^[\w-]{20,200}$/;

/** How long a notice is shown, in milliseconds. */
const NOTICE = 6000;

/** What is shown: the one terminal with the line to its session, and the session's id once it is known. */
const page = {
  screen: null,
  line: null,
  session: new URLSearchParams(location.search).get('session'),
  signedIn: false,
  settling: null,
};

themeSwitch($('theme'), () => page.screen?.restyle());
window.addEventListener('hashchange', enter);
enter();

/** Takes the link from the fragment. Without one, whoever is signed in gets one to the session in the address. */
async function enter() {
  const ticket = location.hash.slice(1);
  if (ticket) {
    // Off the address bar first: it must not linger in the history or be copied from there.
    history.replaceState(null, '', location.pathname);
    page.session = null;
  } else if (page.line !== null) {
    return;
  }
  await askWhetherSignedIn();
  $('home').hidden = !page.signedIn;
  if (TICKET.test(ticket)) watch(new URL(`/t/${ticket}`, location.href.replace(/^http/, 'ws')).href);
  else if (!ticket && page.session !== null && page.signedIn) await watchAgain();
  else nothing();
}

/** Asks for a new link, and watches by it. */
async function watchAgain() {
  state('busy', 'Asking for a link…');
  try {
    const session = (await listSessions()).find(({ id }) => id === page.session);
    if (session === undefined || session.state === 'ended') return nothing(true);
    const { url } = await mintLink(page.session, 'viewer');
    watch(url);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    show();
    showEnding(describeRefusal(error), watchAgain);
  }
}

/** @param {boolean} hasEnded the session in the address is over */
function nothing(hasEnded = false) {
  const words = describeNothingToWatch(page.signedIn, hasEnded);
  page.screen?.dispose();
  page.screen = null;
  document.body.dataset.view = 'chooser';
  $('session').hidden = true;
  $('nothing-title').textContent = words.title;
  $('nothing-words').textContent = words.words;
  $('nothing').hidden = false;
  state('quiet', words.state);
}

/** Shows an empty terminal, in place of the one before. */
function show() {
  page.line?.leave();
  page.line?.attachment.abandon();
  page.screen?.dispose();
  document.body.dataset.view = 'session';
  $('nothing').hidden = true;
  $('session').hidden = false;
  hideEnding();
  $('watch-size').textContent = '';
  page.screen = openMirror($('terminal'), titled);
}

/** Redeems a viewer link. */
function watch(url) {
  show();
  const { screen } = page;
  page.line = new Line(
    url,
    {
      connecting: () => say('busy', 'Joining…'),
      ready: (message) => {
        // A writer's link in this place would give the terminal to a page that cannot type.
        if (message.role !== 'viewer') return finish({ kind: 'refused', code: 'forbidden', message: 'this is no viewer link', closeCode: 4403 });
        page.session = message.session;
        // So that whoever is signed in finds it again after a reload; to anybody else the id opens nothing.
        history.replaceState(null, '', `${location.pathname}?session=${message.session}`);
        say('live', 'Watching');
        resized(message);
      },
      output: (bytes, done) => screen.terminal.write(bytes, done),
      notice: (message) => {
        say('warn', describeNotice(message));
        page.settling = setTimeout(() => say('live', 'Watching'), NOTICE);
      },
      size: resized,
      viewers: () => {},
      lost: (seconds) => say('warn', seconds > 0 ? `Connection lost. Coming back in ${seconds} s.` : 'Connection lost. Coming back…'),
      end: finish,
    },
    new Ledger(),
  );
}

/** Says how things stand, in place of a notice that was to pass. */
function say(tone, words) {
  clearTimeout(page.settling);
  state(tone, words);
}

function resized({ cols, rows }) {
  page.screen.resize({ cols, rows });
  $('watch-size').textContent = `${cols} × ${rows}`;
}

/** It is over: what the terminal shows stays readable. */
async function finish(ending) {
  const { line } = page;
  clearTimeout(page.settling);
  line.leave();
  line.attachment.abandon();
  await askWhetherSignedIn();
  if (page.line !== line) return;
  showEnding(describeWatched(ending, page.signedIn && page.session !== null), watchAgain);
}

/** Who gets no answer is as well off as before. */
async function askWhetherSignedIn() {
  try {
    page.signedIn = await isSignedIn();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
}
