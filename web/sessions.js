// The lists of sessions: those that are there, to go on in or to watch, and those that were recorded.

import { bytesInWords, endInWords } from './words.js';

/** Sessions shown at most, the newest first. */
const SHOWN = 8;

const LIVE = {
  attached: 'somebody types there',
  detached: 'nobody types there',
};

/**
 * Fills `section`, or hides it when there is nothing to show.
 * @param {HTMLElement} section with a list in it
 * @param {object[]} sessions as the HTTP API shows them
 * @param {object[]} providers as the page lists them
 * @param {(session: object) => void} takeUp goes on in a session
 */
export function showSessions(section, sessions, providers, takeUp) {
  const rows = sessions
    .filter(({ state }) => state === 'attached' || state === 'detached')
    .slice(0, SHOWN)
    .map((session) => row(session, titleOf(session, providers), takeUp));
  section.querySelector('ul').replaceChildren(...rows);
  section.hidden = rows.length === 0;
}

/**
 * Fills `section` with what can be replayed, or hides it.
 * @param {object[]} sessions that were recorded
 * @param {number} [most] rows at most
 */
export function showRecordings(section, sessions, providers, most = Infinity) {
  const rows = sessions.slice(0, most).map((session) => recordingRow(session, titleOf(session, providers)));
  section.querySelector('ul').replaceChildren(...rows);
  section.hidden = rows.length === 0;
}

/** Whether there is something to replay. */
export function isRecorded({ recording }) {
  return recording != null && recording.state !== 'pending';
}

function titleOf(session, providers) {
  return providers.find(({ name }) => name === session.provider)?.title ?? session.provider;
}

function recordingRow(session, title) {
  const isOver = session.state === 'ended';
  const facts = [isOver ? endInWords(session) : 'still there', `since ${timeOf(session.created_at)}`, bytesInWords(session.bytes_out)];
  const item = element('li', 'session-row');
  const actions = element('span', 'session-actions');
  const replay = element('a', 'secondary small', 'Replay');
  replay.href = `/replay?session=${session.id}`;
  replay.setAttribute('aria-label', `Replay: ${title}, since ${timeOf(session.created_at)}`);
  actions.append(replay);
  item.append(element('span', 'session-name', title), element('span', 'session-facts', facts.join(' · ')), actions);
  return item;
}

function row(session, title, takeUp) {
  const item = element('li', 'session-row');
  const name = element('span', 'session-name', title);
  const facts = element('span', 'session-facts', factsOf(session).join(' · '));
  const actions = element('span', 'session-actions');
  const label = `${title}, since ${timeOf(session.created_at)}`;
  const go = element('button', 'secondary small', 'Continue');
  go.type = 'button';
  go.setAttribute('aria-label', `Continue: ${label}`);
  go.addEventListener('click', () => takeUp(session));
  const watch = element('a', 'secondary small', 'Watch');
  watch.href = `/watch?session=${session.id}`;
  watch.target = '_blank';
  watch.rel = 'noopener';
  watch.setAttribute('aria-label', `Watch in a new tab: ${label}`);
  actions.append(go, watch);
  item.append(name, facts, actions);
  return item;
}

function factsOf({ state, created_at: createdAt, viewers }) {
  return [LIVE[state], `since ${timeOf(createdAt)}`, ...(viewers > 0 ? [`${viewers} watching`] : [])];
}

function timeOf(timestamp) {
  return new Date(timestamp).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

function element(name, className, text = '') {
  const node = document.createElement(name);
  node.className = className;
  if (text) node.textContent = text;
  return node;
}
