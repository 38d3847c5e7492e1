// What happened, told to a person. Every ending has a headline, a sentence, and
// the name of the button that leads on.

import { INPUT_BOUND } from './session.js';

/**
 * @param {import('./session.js').Ending} ending
 * @param {string} title of the provider
 * @returns {{tone: string, headline: string, detail: string, again: string}}
 */
export function describeEnding(ending, title) {
  switch (ending.kind) {
    case 'exited':
      return exited(ending, title);
    case 'closed':
      return { tone: 'done', headline: 'Ended', detail: `The session at ${title} was closed.`, again: 'New terminal' };
    case 'refused':
      return refused(ending, title);
    case 'lost':
      return {
        tone: 'bad',
        headline: 'Connection lost',
        detail: 'The line to polytty broke, and the session could not be found again.',
        again: 'New terminal',
      };
    default:
      return { tone: 'bad', headline: headlineOf(ending), detail: sentence(ending.message), again: 'New terminal' };
  }
}

/**
 * How it ended for who only watched.
 * @param {import('./session.js').Ending} ending
 * @param {boolean} mayReturn whether a new link can be had
 */
export function describeWatched(ending, mayReturn) {
  const again = mayReturn ? 'Watch again' : null;
  const ask = mayReturn ? '' : ' Ask whoever shares it for a new link.';
  if (ending.kind === 'exited') return { ...exited(ending, null), again: null };
  if (ending.kind === 'closed') return { tone: 'done', headline: 'Ended', detail: 'The session was closed; what it showed is still here.', again: null };
  if (ending.code === 'link_gone' || ending.code === 'not_found') {
    const headline = ending.code === 'link_gone' ? 'This link was used already, or has expired' : 'There is no such link, or the session has ended';
    return { tone: 'bad', headline, detail: `A viewer link works once, within seconds, while the session is there.${ask}`, again };
  }
  if (ending.kind === 'lost' || ending.closeCode === 1006) {
    return { tone: 'bad', headline: 'Connection lost', detail: `The line to polytty broke, and the way back is closed.${ask}`, again };
  }
  const headline = ending.kind === 'refused' ? `Refused: ${withoutStop(ending.message)}` : headlineOf(ending);
  return { tone: 'bad', headline, detail: `${sentence(ending.message)}${ask}`.trim(), again };
}

/** Why the page that watches shows no session. */
export function describeNothingToWatch(signedIn, hasEnded) {
  if (hasEnded) return { state: 'The session has ended', title: 'This session has ended', words: 'There is nothing to watch any more.' };
  const words = 'A viewer link opens this page once, in one browser, within seconds of being made.';
  return {
    state: 'Nothing to watch',
    title: 'Open a viewer link',
    words: signedIn ? `${words} Choose a session from the list, or press Share in its terminal.` : `${words} Ask whoever shares a terminal with you for one.`,
  };
}

/** What is played. @param {?object} session as the HTTP API shows it, if it is still known */
export function describeRecorded(session, title) {
  if (!session) return 'A session that is not in the list any more';
  const from = new Date(session.created_at).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
  const missing = session.recording?.missing > 0 ? [`${bytesInWords(session.recording.missing)} are missing`] : [];
  const until = session.state === 'ended' ? [] : ['as far as it has got'];
  return [title, from, ...until, ...missing].join(' · ');
}

/** Why nothing is played. @param {import('./api.js').Refusal} refusal */
export function describeNoRecording(refusal) {
  if (refusal.status === 401) {
    return { title: 'Not signed in', words: 'A recording shows all that a terminal has shown, so it plays only where the address was opened that polytty demo printed.' };
  }
  if (refusal.status === 404) return { title: 'There is no such recording', words: `${sentence(refusal.message)}` };
  return { title: `Refused: ${withoutStop(refusal.message)}`, words: 'Nothing can be played.' };
}

/** How a session ended, in a few words. @param {object} session as the HTTP API shows it */
export function endInWords({ code, exit_code: exitCode, reason }) {
  if (code !== null) return `failed: ${withoutStop(reason ?? code)}`;
  return exitCode === null ? 'ended' : `ended with exit code ${exitCode}`;
}

/** 2 → "2 watching" */
export function viewersInWords(count) {
  return `${count} watching`;
}

/**
 * What a person should know while the terminal goes on.
 * @param {object} message `replay` or `error` of the protocol
 * @param {boolean} returned whether this page was here before and has missed it
 */
export function describeNotice({ operation, missing, message }, returned = true) {
  if (operation === 'replay' && !returned) return `The first ${bytesInWords(missing)} of output are not kept any more`;
  if (operation === 'replay') return `${bytesInWords(missing)} of output came too fast to be kept, and is missing`;
  return withoutStop(sentence(message));
}

/** A request for a link that was refused. @param {import('./api.js').Refusal} refusal */
export function describeRefusal(refusal) {
  const wait = refusal.retryAfter === null ? '' : ` Try again in ${refusal.retryAfter} s.`;
  const login = refusal.status === 401 ? ' Open the address that polytty demo printed.' : '';
  return { tone: 'bad', headline: `Refused: ${withoutStop(refusal.message)}`, detail: `No link was made.${wait}${login}`, again: 'Try again' };
}

/** Why the page shows no providers. */
export function describeLock(refusal, hadSecret) {
  if (refusal.status === 401 && hadSecret) {
    return {
      state: 'Refused: this address was used already',
      title: 'This address was used already',
      words: 'The address that polytty demo prints opens this page once, in one browser. The demo has printed a new one by now, in the terminal that runs it:',
    };
  }
  if (refusal.status === 401) {
    return {
      state: 'Not signed in',
      title: 'Open the printed address',
      words: 'This page can reach a shell, so it opens only from the address that polytty demo prints at its start. Each works once:',
    };
  }
  return {
    state: `Refused: ${withoutStop(refusal.message)}`,
    title: 'The providers cannot be listed',
    words: `${sentence(refusal.message)} Is the demo still running?`,
  };
}

/** A paste above the bound was refused whole. */
export const PASTE_REFUSED = `Paste refused: more than ${INPUT_BOUND / 1024 / 1024} MiB would be waiting`;

/** 1536 → "1.5 KiB" */
export function bytesInWords(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

function exited({ exitCode, signal }, title) {
  const at = `The process ${title === null ? '' : `at ${title} `}is over; what it wrote is still here.`;
  if (signal) return { tone: 'done', headline: `Ended by signal ${signal}`, detail: at, again: 'New terminal' };
  if (exitCode === null) return { tone: 'done', headline: 'Ended', detail: `${at} This provider tells no exit code.`, again: 'New terminal' };
  return { tone: exitCode === 0 ? 'done' : 'warn', headline: `Ended with exit code ${exitCode}`, detail: at, again: 'New terminal' };
}

function refused(ending, title) {
  if (ending.closeCode === 1006) {
    return { tone: 'bad', headline: 'Connection failed', detail: 'polytty did not take the connection. Is it still running?', again: 'Try again' };
  }
  const words = withoutStop(ending.message) || `${title} could not be opened`;
  return { tone: 'bad', headline: `Refused: ${words}`, detail: `No terminal was opened at ${title}.`, again: 'Try again' };
}

const HEADLINES = {
  idle_timeout: 'Ended: nothing happened for too long',
  lifetime_over: 'Ended: the longest allowed time is over',
  replaced: 'Taken over by another window',
  fell_behind: 'Cut off: the output was not read in time',
  draining: 'polytty is shutting down',
  provider_lost: 'The provider broke the connection',
  evicted: 'The provider moved or removed the machine',
};

function headlineOf({ code, closeCode }) {
  return HEADLINES[code] ?? (closeCode === 1001 ? HEADLINES.draining : 'The session broke off');
}

function sentence(words) {
  if (!words) return '';
  const upper = words[0].toUpperCase() + words.slice(1);
  return /[.!?]$/.test(upper) ? upper : `${upper}.`;
}

function withoutStop(words) {
  return words.replace(/\.$/, '');
}
