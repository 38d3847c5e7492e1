// The list of sessions that are there: to go on in, or to watch.

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
    .map((session) => row(session, providers.find(({ name }) => name === session.provider)?.title ?? session.provider, takeUp));
  section.querySelector('ul').replaceChildren(...rows);
  section.hidden = rows.length === 0;
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
