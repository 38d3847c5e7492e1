// The HTTP side of the page: the one-time login, the list of providers, and links.

/** A request that was refused. `code` is polytty's slug, `message` is meant for a person. */
export class Refusal extends Error {
  /**
   * @param {number} status HTTP status, or 0 where no answer came
   * @param {string} code slug of the problem
   * @param {string} message words for a person
   * @param {?number} retryAfter seconds to wait, where the server named them
   */
  constructor(status, code, message, retryAfter = null) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/** Exchanges the secret of the printed address for a cookie. It works once. */
export async function login(secret) {
  await call('POST', '/demo/login', { secret });
}

/**
 * The providers that can be chosen, each with what is known of its health.
 * @returns {Promise<Array<{name, kind, title, target, health, lastError, sessions}>>}
 */
export async function listProviders() {
  const { providers } = await call('GET', '/demo/targets');
  const states = await providerStates();
  return providers.map((provider) => {
    const state = states.get(provider.name);
    return {
      ...provider,
      title: provider.title ?? provider.name,
      health: state?.health ?? 'unknown',
      lastError: state?.last_error ?? null,
      sessions: state?.sessions ?? null,
    };
  });
}

/**
 * Mints a session and the link to it.
 * @returns {Promise<{id: string, url: string, expires_in: number}>}
 */
export async function mintSession(provider, size) {
  return call('POST', '/v1/sessions', { provider: provider.name, target: provider.target, size });
}

/**
 * Mints a link to a session that is there.
 * @param {'viewer'|'writer'} role
 * @returns {Promise<{id: string, url: string, expires_in: number}>}
 */
export async function mintLink(session, role) {
  return call('POST', `/v1/sessions/${encodeURIComponent(session)}/links`, { role });
}

/** Sessions that are there and that ended lately, the newest first, as the HTTP API shows them. */
export async function listSessions() {
  const { sessions } = await call('GET', '/v1/sessions');
  return sessions;
}

/** One session, while it is there and for a while after. */
export async function showSession(session) {
  return call('GET', `/v1/sessions/${encodeURIComponent(session)}`);
}

/** What was recorded of a session, as asciicast: of one that goes on, all by now. */
export async function fetchRecording(session) {
  const response = await answer('GET', `/v1/sessions/${encodeURIComponent(session)}/recording`);
  return response.text();
}

/** Whether this browser was let in by a printed address. */
export async function isSignedIn() {
  const { signed_in: signedIn } = await call('GET', '/demo/login');
  return signedIn;
}

/** Health is an extra: the list is shown without it when it cannot be had. */
async function providerStates() {
  try {
    const { providers } = await call('GET', '/v1/providers');
    return new Map(providers.map((provider) => [provider.name, provider]));
  } catch (error) {
    if (error instanceof Refusal) return new Map();
    throw error;
  }
}

async function call(method, path, body) {
  const response = await answer(method, path, body);
  return response.status === 204 ? null : response.json();
}

/** The response, if it is a good one. */
async function answer(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
      headers: body === undefined ? {} : { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refusal(0, 'unreachable', 'polytty does not answer. Is it still running?');
  }
  if (!response.ok) throw await refusalFrom(response);
  return response;
}

async function refusalFrom(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // A refusal without a readable body still has its status.
  }
  const words = problem.detail || problem.title || `the server answered ${response.status}`;
  const seconds = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  return new Refusal(response.status, problem.code ?? 'internal', words, Number.isNaN(seconds) ? null : seconds);
}
