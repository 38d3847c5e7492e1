// What all pages have in common: the state line, and the panel that tells how something ended.

export const $ = (id) => document.getElementById(id);

/** Characters of a remote title that are shown. */
const TITLE_LIMIT = 80;

/** Says in one line how things stand. @param {'quiet'|'busy'|'live'|'done'|'warn'|'bad'} tone */
export function state(tone, words) {
  $('state').dataset.tone = tone;
  $('state-words').textContent = words;
}

/**
 * Tells how it ended and offers the way on, if there is one.
 * @param {{tone: string, headline: string, detail: string, again: ?string}} ending `again` names the button
 * @param {() => void} proceed what the button does
 */
export function showEnding({ tone, headline, detail, again }, proceed) {
  $('ending').dataset.tone = tone;
  $('ending-title').textContent = headline;
  $('ending-detail').textContent = detail;
  $('ending').hidden = false;
  $('again').hidden = !again;
  $('again').textContent = again ?? '';
  $('again').onclick = proceed;
  state(tone, headline);
  if (again) $('again').focus();
}

export function hideEnding() {
  $('ending').hidden = true;
}

/** Names the window after what the remote program calls itself. */
export function titled(title) {
  const shown = title.slice(0, TITLE_LIMIT);
  document.title = shown ? `${shown} – polytty` : 'polytty';
}
