// Call the server's JSON API. Requests carry the session's cookie; no token is kept here.

export class SignedOut extends Error {}

export class Refused extends Error {}

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
  throw answer.status === 401 ? new SignedOut(message) : new Refused(message);
}

const segment = encodeURIComponent;

export const session = () => ask('GET', 'session');
export const signIn = (token) => ask('POST', 'session', { body: { token } });
export const signOut = () => ask('DELETE', 'session');

export const repositories = () => ask('GET', 'repositories');

// Return the activity with each hour as a number, for the charts.
export async function activity(hours, repository = '') {
  const answer = await ask('GET', 'activity', { query: { hours, repository } });
  return answer.hours.map((tally) => ({ ...tally, hour: Date.parse(tally.hour) }));
}

export const match = (repository, { key, restoreKeys, refs, version }) => ask('GET', 'match', { query: { repository, key, restore_key: restoreKeys, ref: refs, version } });
export const failures = () => ask('GET', 'failures');
export const refusedTokens = () => ask('GET', 'refused-tokens');
export const cost = () => ask('GET', 'cost');

export const repository = (id) => ask('GET', `repositories/${segment(id)}`);
export const entries = (repository, query) => ask('GET', `repositories/${segment(repository)}/entries`, { query });
// Without dry_run=false, the server only says what a deletion would delete.
export const previewDeletion = (repository, query) => ask('DELETE', `repositories/${segment(repository)}/entries`, { query });
export const deleteEntries = (repository, query) => ask('DELETE', `repositories/${segment(repository)}/entries`, { query: { ...query, dry_run: false } });
export const deleteEntry = (repository, id) => ask('DELETE', `repositories/${segment(repository)}/entries/${segment(id)}`, { query: { dry_run: false } });
