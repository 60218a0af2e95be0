// Show all repositories: their usage, the activity of jobs, failures and the cost.

import * as api from './api.mjs';
import { SPANS, buckets, sum } from './activity.mjs';
import { hitRate, moved, numbers } from './chart.mjs';
import { h, later, named, size, when } from './dom.mjs';
import { bytes, count, dollars, percent, plural } from './format.mjs';
import { section } from './section.mjs';
import { usageBar } from './usage.mjs';

const SHOWN = 50;
const FEW = 8; // as many are found without a search

export function overview() {
  const requests = { repositories: once(api.repositories), failures: once(api.failures), cost: once(api.cost) };
  const above = [
    section('At a glance', () => glance(requests), { id: 'glance' }),
    section('Repositories', () => repositories(requests), { id: 'repositories' }),
    activitySection(),
  ];
  const refused = section('Jobs that were refused', () => refusedTokens(() => refused.element), { id: 'refused' });
  refused.element.hidden = true; // until there is one
  const pair = [
    section('What failed lately', () => failures(requests), { id: 'failures' }),
    section('Cost of the month', () => cost(requests), { id: 'cost' }),
  ];
  return {
    title: 'Overview',
    elements: [
      h('h1', { class: 'unseen', tabindex: '-1' }, 'Overview'),
      ...above.map((part) => part.element),
      refused.element,
      h('div', { class: 'pair' }, pair.map((part) => part.element)),
    ],
    again: () => {
      Object.values(requests).forEach((request) => request.forget());
      [...above, refused, ...pair].forEach((part) => part.again());
    },
  };
}

// Share one request between the sections that show its answer; a failed request is made again.
function once(load) {
  let answer = null;
  const forget = () => { answer = null; };
  const ask = () => {
    answer ??= load().catch((error) => {
      forget();
      throw error;
    });
    return answer;
  };
  return Object.assign(ask, { forget });
}

async function glance(requests) {
  const [{ repositories: all, store }, day, month, failed] = await Promise.all([
    requests.repositories(),
    api.activity(24).then(sum),
    requests.cost(),
    requests.failures(),
  ]);
  const lookups = day.hits + day.misses;
  const failureCount = Math.max(failed.failed_merges.length, failed.dead_letters);
  const budget = store.budget_bytes ? ` of ${bytes(store.budget_bytes)}` : '';
  return h(
    'dl',
    { class: 'tiles' },
    tile('Stored', size(store.bytes), `${plural(store.entries, 'entry', 'entries')}${budget}, ${plural(all.length, 'repository', 'repositories')}`),
    tile('Hit rate, 24 hours', percent(day.hits, lookups), plural(lookups, 'lookup')),
    tile('Restored, 24 hours', size(day.bytes_restored), `${bytes(day.bytes_saved)} saved`),
    tile('Cost of the month', dollars(month.month_usd), 'an estimate'),
    tile('Failed lately', count(failureCount), failureCount ? 'see below' : 'nothing', failureCount ? 'bad' : null),
  );
}

function tile(name, value, note, className = null) {
  return h('div', { class: className }, h('dt', {}, name), h('dd', {}, h('strong', {}, value), h('span', {}, note)));
}

async function repositories(requests) {
  const { repositories: all } = await requests.repositories();
  if (!all.length) {
    return h('p', { class: 'muted' }, 'Nothing was saved yet. The first job that saves an entry brings its repository here.');
  }
  const now = Date.now();
  const shown = h('p', { class: 'muted', role: 'status' });
  const body = h('tbody', { role: 'rowgroup' });
  const fill = (search) => {
    const found = all.filter(({ name, id }) => (name ?? id).toLowerCase().includes(search.trim().toLowerCase()));
    const rows = found.slice(0, SHOWN);
    body.replaceChildren(...rows.map((repository) => repositoryRow(repository, now)));
    shown.textContent = rows.length < all.length ? `${count(rows.length)} of ${plural(all.length, 'repository', 'repositories')}` : '';
  };
  fill('');
  const input = h('input', { type: 'search', id: 'find-repository', oninput: later(150, (event) => fill(event.target.value)) });
  const heads = [['Repository'], ['Usage'], ['Entries', 'number'], ['Last use']];
  return [
    all.length > FEW ? h('div', { class: 'field find' }, h('label', { for: 'find-repository' }, 'Find a repository'), input) : null,
    h(
      'table',
      { role: 'table', class: 'cards' },
      h('caption', { class: 'unseen' }, 'Repositories, the largest first'),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map(([text, kind]) => h('th', { role: 'columnheader', scope: 'col', class: kind }, text)))),
      body,
    ),
    shown,
  ].filter(Boolean);
}

function repositoryRow(repository, now) {
  const cell = (label, content, kind = null) => h('td', { role: 'cell', class: kind, 'data-label': label }, content);
  return h(
    'tr',
    { role: 'row' },
    h('th', { role: 'rowheader', scope: 'row' }, h('a', { href: address(repository.id) }, named(repository.name ?? repository.id))),
    cell('Usage', usageBar(repository.bytes, repository.budget_bytes)),
    cell('Entries', count(repository.entries), 'number'),
    cell('Last use', when(repository.last_used_at, now)),
  );
}

export const address = (id) => `#/repositories/${encodeURIComponent(id)}`;

// Create the charts, of one repository or of all, with a choice of their hours.
export function activitySection(repository = '') {
  let span = SPANS[1];
  const choice = h(
    'fieldset',
    { class: 'choice' },
    h('legend', { class: 'unseen' }, 'Span of the charts'),
    SPANS.map((option) => h(
      'label',
      {},
      h('input', { type: 'radio', name: 'span', checked: option === span, onchange: () => { span = option; part.again(); } }),
      h('span', {}, option.name),
    )),
  );
  const load = async () => {
    const current = span;
    const made = buckets(await api.activity(current.hours, repository), current, Date.now());
    return [h('div', { class: 'charts' }, hitRate(made, current), moved(made, current)), numbers(made, current)].filter(Boolean);
  };
  const part = section('Activity', load, { beside: choice, id: 'activity' });
  return part;
}

async function failures(requests) {
  const [{ failed_merges: merges, dead_letters: letters }, { repositories: all }] = await Promise.all([requests.failures(), requests.repositories()]);
  const now = Date.now();
  const nameOf = (id) => all.find((repository) => repository.id === id)?.name ?? id;
  if (!merges.length && !letters) return h('p', { class: 'muted' }, 'Nothing: no merge was given up, and the dead-letter queue is empty.');
  const item = ({ entry, ...merge }) => h(
    'li',
    {},
    h('div', {}, 'Not merged after ', plural(merge.attempts, 'try', 'tries'), ': ', named(entry.key, 'key')),
    h('div', { class: 'muted' }, h('a', { href: address(merge.repository) }, named(nameOf(merge.repository))), ' · ', named(entry.ref), ' · ', size(entry.size), ' · ', when(merge.failed_at, now)),
  );
  return [
    letters ? h('p', { class: 'notice bad' }, `About ${plural(letters, 'message')} in the dead-letter queue, which nobody has worked off.`) : null,
    merges.length ? h('ul', { class: 'failures' }, merges.map(item)) : null,
    merges.length ? h('p', { class: 'muted' }, 'Jobs still restore these, from their parts.') : null,
  ].filter(Boolean);
}

async function refusedTokens(element) {
  const { refused_tokens: refused } = await api.refusedTokens().catch((error) => {
    element().hidden = false; // so that the error is seen
    throw error;
  });
  element().hidden = !refused.length;
  const now = Date.now();
  const item = (job) => h(
    'li',
    {},
    h('div', {}, named(job.repository ?? `repository ${job.repository_id}`), ' of ', named(job.owner ?? job.owner_id ?? 'an unknown owner')),
    h('div', { class: 'muted' }, plural(job.times, 'time'), ' · ', when(job.last_at, now), ' · ', named(job.issuer)),
    job.to_admit.map((value) => h('div', {}, 'To let it in, add to TokenClaims: ', named(value, 'key'))),
  );
  return [
    h('p', { class: 'muted' }, 'Their tokens are good, but TokenClaims names other jobs. They go on without the cache.'),
    h('ul', { class: 'failures' }, refused.map(item)),
  ];
}

const PARTS = {
  storage: 'Storage',
  saves: 'Saves, with their merges',
  restores: 'Restores',
  misses: 'Lookups that found nothing',
  idle: 'What costs while nobody builds',
};

async function cost(requests) {
  const month = await requests.cost();
  const done = month.requests;
  const hits = plural(done.hits, 'restore');
  return [
    h('p', { class: 'muted' }, `By list prices, of a month that goes on like the last ${plural(month.hours / 24, 'day')}: `, size(month.stored_bytes), ` stored, ${plural(done.saves, 'save')}, ${hits}, ${plural(done.misses, 'miss', 'misses')}.`),
    costTable('Part', Object.entries(month.by_part).map(([name, usd]) => [PARTS[name] ?? name, usd]), month.month_usd),
    h('details', {}, h('summary', {}, 'By AWS service'), costTable('Service', Object.entries(month.by_service), month.month_usd)),
    month.transfer_out_usd ? h('p', { class: 'muted' }, `Runners outside AWS’s region add up to ${dollars(month.transfer_out_usd)} for the transfer of what they restore.`) : null,
  ].filter(Boolean);
}

function costTable(what, lines, total) {
  const row = ([name, usd]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', { class: 'number', title: `${usd} USD` }, dollars(usd)));
  return h(
    'table',
    { class: 'plain' },
    h('caption', { class: 'unseen' }, `Estimated cost of a month, by ${what.toLowerCase()}`),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, what), h('th', { scope: 'col', class: 'number' }, 'USD'))),
    h('tbody', {}, lines.map(row)),
    h('tfoot', {}, row(['Total', total])),
  );
}
