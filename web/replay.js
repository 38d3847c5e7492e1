// The page that replays: the list of recordings, and asciinema's player with one of them.

import { Refusal, fetchRecording, listProviders, listSessions } from './api.js';
import { $, state } from './frame.js';
import { isRecorded, showRecordings } from './sessions.js';
import { TERMINAL_FONT, terminalPalette, themeSwitch } from './theme.js';
import { describeNoRecording, describeRecorded } from './words.js';

const SESSION_ID = /^[0-9a-f]{32}$/;

/** Pauses are cut to so many seconds. */
const LONGEST_PAUSE = 2;

/** The name under which the player finds its colours. */
const THEME = 'polytty';

/** What is played: the recording and the player, which is at hand for scripts of the person at the page. */
const page = { recording: null, player: null };

const colours = new CSSStyleSheet();
document.adoptedStyleSheets = [colours];
paint();
themeSwitch($('theme'), () => {
  paint();
  // The player has looked its colours up when it was made.
  if (page.player !== null) play(page.player.getCurrentTime(), false);
});
enter();

async function enter() {
  const id = new URLSearchParams(location.search).get('session');
  state('busy', id === null ? 'Asking for the recordings…' : 'Asking for the recording…');
  try {
    const [providers, sessions] = [await listProviders(), await listSessions()];
    if (id === null) {
      list(sessions, providers);
    } else if (!SESSION_ID.test(id)) {
      refuse(new Refusal(0, 'bad_message', 'that is no id of a session'), sessions, providers);
    } else {
      await open(id, sessions, providers);
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refuse(error, [], []);
  }
}

async function open(id, sessions, providers) {
  try {
    page.recording = await fetchRecording(id);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refuse(error, sessions, providers);
    return;
  }
  const session = sessions.find((other) => other.id === id);
  const title = providers.find(({ name }) => name === session?.provider)?.title ?? session?.provider ?? null;
  document.body.dataset.view = 'session';
  document.title = 'Replay – polytty';
  $('session').hidden = false;
  $('replay-title').textContent = title === null ? 'Replay' : `Replay of a terminal at ${title}`;
  $('replay-facts').textContent = describeRecorded(session, title);
  $('download').href = `/v1/sessions/${id}/recording`;
  play(0, !matchMedia('(prefers-reduced-motion: reduce)').matches);
}

/** Makes the player anew. */
function play(startAt, autoPlay) {
  page.player?.dispose();
  const player = window.AsciinemaPlayer.create({ data: page.recording }, $('player'), {
    autoPlay,
    controls: true,
    fit: 'both',
    idleTimeLimit: LONGEST_PAUSE,
    preload: true,
    startAt,
    terminalFontFamily: TERMINAL_FONT,
    theme: THEME,
  });
  page.player = player;
  $('player').player = player;
  player.addEventListener('play', () => state('live', 'Playing'));
  player.addEventListener('playing', () => state('live', 'Playing'));
  player.addEventListener('pause', () => state('quiet', 'Paused'));
  player.addEventListener('ended', () => state('done', 'The recording has ended'));
  state('quiet', 'Ready to play');
}

function list(sessions, providers) {
  $('recordings').hidden = false;
  $('by-id').hidden = false;
  const recorded = sessions.filter(isRecorded);
  showRecordings($('recorded'), recorded, providers);
  state('quiet', recorded.length === 0 ? 'No recordings yet' : 'Ready');
  $('by-id').addEventListener('submit', (event) => {
    event.preventDefault();
    location.search = new URLSearchParams({ session: $('session-id').value });
  });
}

function refuse(refusal, sessions, providers) {
  const words = describeNoRecording(refusal);
  if (refusal.status === 401) $('recordings').hidden = false;
  else list(sessions, providers);
  $('refused-title').textContent = words.title;
  $('refused-words').textContent = words.words;
  $('refused').hidden = false;
  state('bad', words.title);
}

/** The colours of a terminal here, as the player wants them. */
function paint() {
  const palette = terminalPalette();
  const names = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
  const bright = names.map((name) => `bright${name[0].toUpperCase()}${name.slice(1)}`);
  const indexed = [...names, ...bright].map((name, index) => `--term-color-${index}: ${palette[name]};`);
  colours.replaceSync(
    `.asciinema-player-theme-${THEME} { --term-color-foreground: ${palette.foreground}; --term-color-background: ${palette.background}; ${indexed.join(' ')} }`,
  );
}
