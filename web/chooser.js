// The list of providers, as a group of radio buttons.

const HEALTH = {
  ok: 'healthy',
  failing: 'failing',
  unknown: 'not used yet',
};

/** Fills `list` with one choice per provider and selects `chosen`, or else the first. */
export function showProviders(list, providers, chosen) {
  const selected = providers.some(({ name }) => name === chosen) ? chosen : providers[0]?.name;
  list.replaceChildren(...providers.map((provider) => choice(provider, provider.name === selected)));
}

/** The radio button that is selected, or `null`. */
export function selectedChoice(list) {
  return list.querySelector('input:checked');
}

function choice(provider, checked) {
  const label = element('label', 'provider');
  const radio = element('input');
  Object.assign(radio, { type: 'radio', name: 'provider', value: provider.name, checked });
  const head = element('span', 'provider-head');
  head.append(element('span', 'provider-title', provider.title), element('span', 'provider-kind', provider.kind));
  label.append(radio, head, target(provider.target), health(provider));
  return label;
}

function target(fields) {
  const line = element('span', 'provider-target');
  for (const [path, value] of leaves(fields ?? {})) {
    const name = element('span', 'field-name');
    // A long path breaks where a reader would break it.
    path.forEach((step, at) => name.append(...(at > 0 ? ['.', element('wbr')] : []), step));
    const field = element('span', 'field');
    field.append(name, ' ', element('span', 'field-value', value));
    line.append(field);
  }
  return line;
}

/** What is not an object itself, with the names that lead to it. */
function* leaves(fields, path = []) {
  for (const [name, value] of Object.entries(fields)) {
    if (value?.constructor === Object) yield* leaves(value, [...path, name]);
    else yield [[...path, name], typeof value === 'string' ? value : JSON.stringify(value)];
  }
}

function health({ health: state, lastError, sessions }) {
  const line = element('span', 'provider-health');
  line.dataset.health = state in HEALTH ? state : 'unknown';
  const dot = element('span', 'dot');
  dot.setAttribute('aria-hidden', 'true');
  line.append(dot, element('span', 'provider-word', HEALTH[state] ?? HEALTH.unknown));
  if (sessions) line.append(element('span', 'provider-sessions', `${sessions.in_use} of ${sessions.allowed} in use`));
  if (lastError && state === 'failing') line.append(element('span', 'provider-error', lastError));
  return line;
}

function element(name, className = '', text = '') {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
}
