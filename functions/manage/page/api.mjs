// Call the server's JSON API. Requests carry the session's cookie; no token is kept here.

export class SignedOut extends Error {}

// What the server or the network refuses; `status` is 0 if there was no answer.
export class Refused extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, { query = {}, body } = {}) {
  const given = Object.entries(query)
    .flatMap(([name, value]) => [value].flat().map((single) => [name, single])) // a list becomes several parameters
    .filter(([, value]) => value !== '' && value !== null && value !== undefined);
  const search = new URLSearchParams(given).toString();
  let answer;
  try {
    answer = await fetch(`/manage/${path}${search ? `?${search}` : ''}`, {
      method,
      headers: { Accept: 'application/json', ...(body ? { 'Content-Type': 'application/json' } : {}) },
      body: body ? JSON.stringify(body) : undefined,
      credentials: 'same-origin',
      cache: 'no-store',
    });
  } catch {
    throw new Refused('The server can’t be reached. Look at the network, then try again.');
  }
  const json = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (answer.ok) return json;
  const message = json?.message ?? `The server answered ${answer.status}; its log may say more.`;
  throw answer.status === 401 ? new SignedOut(message) : new Refused(message, answer.status);
}

const segment = encodeURIComponent;

export const session = () => ask('GET', 'session');
export const signIn = (token) => ask('POST', 'session', { body: { token } });
export const signOut = () => ask('DELETE', 'session');

export const repositories = () => ask('GET', 'repositories');
export const failures = () => ask('GET', 'failures');
export const refusedTokens = () => ask('GET', 'refused-tokens');
export const cost = () => ask('GET', 'cost');

// Return the activity with each hour as a number, for the charts.
export async function activity(hours, repository = '') {
  const answer = await ask('GET', 'activity', { query: { hours, repository } });
  return answer.hours.map((tally) => ({ ...tally, hour: Date.parse(tally.hour) }));
}

export const MOST_HIT_RATES = 50; // repositories that one request may ask for

// Return hits and misses by the repository's id, of any number of repositories.
export async function hitRates(ids, hours) {
  const batches = [];
  for (let start = 0; start < ids.length; start += MOST_HIT_RATES) batches.push(ids.slice(start, start + MOST_HIT_RATES));
  const answers = await Promise.all(batches.map((repository) => ask('GET', 'hit-rates', { query: { repository, hours } })));
  return new Map(answers.flatMap((answer) => answer.hit_rates).map((rate) => [rate.repository, rate]));
}

export const repository = (id) => ask('GET', `repositories/${segment(id)}`);
export const entries = (repository, query) => ask('GET', `repositories/${segment(repository)}/entries`, { query });
export const families = (repository, hours) => ask('GET', 'families', { query: { repository, hours } });
export const match = (repository, { key, restoreKeys, refs, version }) => ask('GET', 'match', { query: { repository, key, restore_key: restoreKeys, ref: refs, version } });

// Without dry_run=false, the server only says what a deletion would delete.
export const previewDeletion = (repository, query) => ask('DELETE', `repositories/${segment(repository)}/entries`, { query });
export const deleteEntries = (repository, query) => ask('DELETE', `repositories/${segment(repository)}/entries`, { query: { ...query, dry_run: false } });
export const deleteEntry = (repository, id) => ask('DELETE', `repositories/${segment(repository)}/entries/${segment(id)}`, { query: { dry_run: false } });
