// Answer the demo's requests from a recording, as the server would; tests/e2e/page/test_demo.py compares the two.

import { fullRef } from './format.mjs';

const HOUR = 3600_000;
const AGE = { m: 60_000, h: HOUR, d: 24 * HOUR, w: 168 * HOUR };
const COUNTED = ['hits', 'misses', 'saves', 'bytes_restored', 'bytes_saved'];

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Return a function in place of `fetch`.
export function answering(recorded) {
  return async (url, { method = 'GET' } = {}) => {
    const { pathname, searchParams } = new URL(url, 'http://demo');
    try {
      const [place, id, ...rest] = pathname.replace('/manage/', '').split('/').map(decodeURIComponent);
      const body = answer(recorded, method, [place, rest[0]].filter(Boolean).join('/'), id, searchParams);
      return new Response(JSON.stringify(body), { status: 200 });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return new Response(JSON.stringify({ message: error.message }), { status: error.status });
    }
  };
}

function answer(recorded, method, place, id, query) {
  const session = { role: 'admin', release: recorded.release };
  const repository = () => found(recorded, id ?? query.get('repository'));
  const answers = {
    'GET session': () => session,
    'POST session': () => session,
    'DELETE session': () => ({}),
    'GET repositories': () => (id ? repository() : recorded.repositories),
    'GET failures': () => recorded.failures,
    'GET refused-tokens': () => recorded.refused,
    'GET cost': () => recorded.cost,
    'GET activity': () => ({ repository: query.get('repository'), hours: activity(recorded, query.get('repository') ?? '', Number(query.get('hours'))) }),
    'GET hit-rates': () => hitRates(recorded, query.getAll('repository'), Number(query.get('hours'))),
    'GET families': () => recorded.families[repository().id][Number(query.get('hours')) > 24 ? 168 : 24],
    'GET repositories/entries': () => listed(recorded, repository(), query),
    'DELETE repositories/entries': () => previewed(recorded, repository(), query),
    'GET match': () => match(recorded.entries[repository().id], query),
  };
  return (answers[`${method} ${place}`] ?? (() => { throw new Refusal(404, 'the demo has no such answer'); }))();
}

function found({ repositories }, id) {
  const repository = repositories.repositories.find((one) => one.id === id);
  if (!repository) throw new Refusal(404, `no repository '${id}' has saved anything here`);
  return repository;
}

function activity({ now, activity: recorded }, id, hours) {
  const last = now - (now % HOUR);
  const tallies = new Map((recorded[id] ?? []).map(([back, ...counts]) => [back, counts]));
  return Array.from({ length: hours }, (_, index) => {
    const back = hours - 1 - index;
    const counts = tallies.get(back) ?? [0, 0, 0, 0, 0];
    return { hour: new Date(last - back * HOUR).toISOString(), ...Object.fromEntries(COUNTED.map((name, at) => [name, counts[at]])) };
  });
}

function hitRates(recorded, ids, hours) {
  const of = (id) => activity(recorded, id, hours).reduce((sum, { hits, misses }) => ({ ...sum, hits: sum.hits + hits, misses: sum.misses + misses }), { repository: id, hits: 0, misses: 0 });
  return { hours, hit_rates: ids.map(of) };
}

function matching({ now, entries, keyFamilies }, { id }, query) {
  const { search, ref, entry_class: entryClass, unused_since: unused, family } = Object.fromEntries(query);
  const since = unused ? now - Number.parseInt(unused, 10) * AGE[unused.at(-1)] : null;
  return entries[id].filter((entry) => (!search || entry.key.toLowerCase().includes(search.toLowerCase()))
    && (!ref || entry.ref === fullRef(ref))
    && (!entryClass || entry.entry_class === entryClass)
    && (since === null || Date.parse(entry.last_used_at) < since)
    && (!family || keyFamilies[entry.key] === family));
}

function listed(recorded, repository, query) {
  const [sort, direction] = [query.get('sort') ?? 'last_used_at', query.get('direction') ?? 'desc'];
  const [page, perPage] = [Number(query.get('page') ?? 1), Number(query.get('per_page') ?? 30)];
  const sign = direction === 'asc' ? 1 : -1;
  const entries = matching(recorded, repository, query).sort((one, other) => sign * (one[sort] < other[sort] ? -1 : one[sort] > other[sort] ? 1 : one.id - other.id));
  return { total: entries.length, more: false, page, per_page: perPage, entries: entries.slice((page - 1) * perPage, page * perPage) };
}

function previewed(recorded, repository, query) {
  if (query.get('dry_run') === 'false') throw new Refusal(403, 'This is a recording: nothing can be deleted.');
  const sum = (name) => (entries) => ({ ...name, entries: entries.length, bytes: entries.reduce((total, { size }) => total + size, 0) });
  const entries = matching(recorded, repository, query);
  const refs = [...new Set(entries.map(({ ref }) => ref))].map((ref) => sum({ ref })(entries.filter((entry) => entry.ref === ref)));
  refs.sort((one, other) => other.bytes - one.bytes);
  return { as_of: new Date(recorded.now).toISOString(), matched: { ...sum({})(entries), refs, other_refs: { entries: 0, bytes: 0 } }, deleted: [], remaining: 0, more: false };
}

function match(stored, query) {
  const refs = query.getAll('ref').map(fullRef);
  const prefixes = [...new Set([query.get('key'), ...query.getAll('restore_key')])];
  const shape = (entry) => entry && (({ id, key, ref, version, size, created_at: createdAt }) => ({ id, key, ref, version, size, created_at: createdAt }))(entry);
  const alike = stored.filter(({ key }) => prefixes.some((prefix) => key.startsWith(prefix))).sort((one, other) => (one.last_used_at < other.last_used_at ? 1 : -1)).slice(0, 20);
  const asked = query.get('version') ? [query.get('version')] : [...new Set(alike.map(({ version }) => version))];
  const matches = asked.map((version) => {
    const attempts = [];
    for (const ref of refs) {
      const there = stored.filter((entry) => entry.ref === ref && entry.version === version).sort((one, other) => (one.created_at < other.created_at ? 1 : -1));
      const probes = [[query.get('key'), true], ...prefixes.map((prefix) => [prefix, false])];
      for (const [key, exact] of probes) {
        const entry = there.find((one) => (exact ? one.key === key : one.key.startsWith(key)));
        attempts.push({ ref, key, exact, found: shape(entry) ?? null });
        if (entry) return { version, found: shape(entry), attempts };
      }
    }
    return { version, found: null, attempts };
  });
  return { matches, alike: matches.some(({ found: one }) => one) ? [] : alike.map(shape) };
}
