// List repositories with their usage and hit rate: searched, sorted and paged here, since the server gives all at once.

import * as api from './api.mjs';
import { bones, h, later, named, when } from './dom.mjs';
import { count, percent, plural } from './format.mjs';
import { cards, cell, heads, orders, pageOf, pager } from './list.mjs';
import { overviewAt, repositoryAt, stay } from './route.mjs';
import { section } from './section.mjs';
import { welcome } from './welcome.mjs';
import { isNearlyFull, usageBar } from './usage.mjs';

const PER_PAGE = 25;
const HOURS = 168; // of the hit rate
const MOST_RATED = 500; // with more repositories, asking for all hit rates would take too many requests to sort by them

const nameOf = (repository) => repository.name ?? repository.id;
const DEFAULTS = { search: '', full: '', sort: 'bytes', direction: 'desc', page: 1 };

const columns = (areFew) => [
  { title: 'Repository', sort: 'name', orders: ['Z to A', 'A to Z'] },
  { title: 'Usage', sort: 'bytes', orders: ['largest first', 'smallest first'] },
  { title: 'Hit rate, 7 days', kind: 'number', ...(areFew ? { sort: 'rate', orders: ['best first', 'worst first'] } : {}) },
  { title: 'Entries', sort: 'entries', orders: ['most first', 'fewest first'], kind: 'number' },
  { title: 'Last use', sort: 'last_used_at', orders: ['newest first', 'oldest first'] },
];

// `load` returns all repositories, and may remember them.
export function repositoryList(load, given) {
  const query = { ...DEFAULTS };
  const read = (params) => {
    ['search', 'full', 'sort', 'direction'].forEach((name) => { query[name] = params.get(name) ?? DEFAULTS[name]; });
    query.page = pageOf(params);
  };
  read(given);
  const rates = new Map(); // of the repositories that were shown
  const change = async (changes) => {
    if (!part.element.isConnected) return; // another view is open, and the address belongs to it
    Object.assign(query, { page: 1 }, changes);
    stay(overviewAt(Object.fromEntries(Object.entries(query).filter(([name, value]) => value !== DEFAULTS[name]))));
    await part.repaint();
  };
  const input = h('input', { type: 'search', id: 'find-repository', value: query.search, autocomplete: 'off', oninput: later(150, (event) => change({ search: event.target.value.trim() })) });
  const only = h('input', { type: 'checkbox', id: 'only-full', checked: Boolean(query.full), onchange: (event) => change({ full: event.target.checked ? '1' : '' }) });
  const order = h('div', { class: 'order' });
  let choice = null;
  const counted = h('p', { class: 'muted', role: 'status' });
  const body = h('div', {});
  const nodes = [
    h(
      'search',
      { class: 'filters' },
      h('div', { class: 'field' }, h('label', { for: 'find-repository' }, 'Find a repository'), input),
      h('label', { class: 'check' }, only, ' Over 90% of the budget'),
      order,
    ),
    counted,
    body,
  ];

  const rate = async (repositories) => {
    const missing = repositories.map(({ id }) => id).filter((id) => !rates.has(id));
    if (missing.length) (await api.hitRates(missing, HOURS)).forEach((value, id) => rates.set(id, value));
  };

  const paint = async () => {
    const { repositories: all } = await load();
    if (!all.length) return welcome();
    const areFew = all.length <= MOST_RATED;
    if (!areFew && query.sort === 'rate') query.sort = DEFAULTS.sort;
    if (query.sort === 'rate') await rate(all);
    const text = query.search.toLowerCase();
    const found = all.filter((repository) => nameOf(repository).toLowerCase().includes(text) && (!query.full || isNearlyFull(repository)));
    found.sort(comparing(query, rates));
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    query.page = Math.min(query.page, pages);
    const rows = found.slice((query.page - 1) * PER_PAGE, query.page * PER_PAGE);
    const isRated = () => rows.every(({ id }) => rates.has(id));
    const show = () => {
      const now = Date.now();
      const shape = columns(areFew);
      if (!choice) {
        choice = orders('order-repositories', shape, query, change);
        order.replaceChildren(choice.element);
      }
      choice.choose();
      counted.textContent = found.length < all.length ? `${count(found.length)} of ${plural(all.length, 'repository', 'repositories')}` : plural(all.length, 'repository', 'repositories');
      body.replaceChildren(
        rows.length ? cards('Repositories', heads(shape, query, change), rows.map((repository) => row(repository, rates, now))) : '',
        pager(query.page, pages, (page) => change({ page }).then(() => part.heading.focus()), 'repositories'),
      );
      if (!isRated()) fillIn(rows);
      return nodes;
    };
    return show;
  };
  // Show the hit rates when they come; the rows are there before.
  const fillIn = async (rows) => {
    const table = body.firstChild;
    table.setAttribute('aria-busy', 'true');
    await rate(rows).catch((error) => part.fail(error));
    [...table.querySelectorAll('td.rate')].forEach((place, index) => place.replaceChildren(rateOf(rates.get(rows[index].id), '–')));
    table.removeAttribute('aria-busy');
  };

  const part = section('Repositories', paint, { id: 'repositories', skeleton: bones(12) });
  return {
    part,
    forget: () => rates.clear(),
    take: (params) => {
      read(params);
      input.value = query.search;
      only.checked = Boolean(query.full);
      return part.repaint();
    },
  };
}

function comparing({ sort, direction }, rates) {
  const rateFor = ({ id }) => {
    const { hits, misses } = rates.get(id) ?? { hits: 0, misses: 0 };
    return hits + misses ? hits / (hits + misses) : -1; // without lookups: below all others
  };
  const value = {
    name: (repository) => nameOf(repository).toLowerCase(),
    rate: rateFor,
    bytes: (repository) => repository.bytes,
    entries: (repository) => repository.entries,
    last_used_at: (repository) => repository.last_used_at ?? '',
  }[sort] ?? ((repository) => repository.bytes);
  const sign = direction === 'asc' ? 1 : -1;
  return (one, other) => {
    const [a, b] = [value(one), value(other)];
    return a < b ? -sign : a > b ? sign : one.id < other.id ? -1 : 1;
  };
}

function row(repository, rates, now) {
  return h(
    'tr',
    { role: 'row' },
    h('th', { role: 'rowheader', scope: 'row' }, h('a', { href: repositoryAt(repository.id) }, named(nameOf(repository)))),
    cell('Usage', usageBar(repository.bytes, repository.budget_bytes)),
    cell('Hit rate', rateOf(rates.get(repository.id)), 'number rate'),
    cell('Entries', count(repository.entries), 'number'),
    cell('Last use', when(repository.last_used_at, now)),
  );
}

function rateOf(rate, unknown = '…') {
  if (!rate) return h('span', { class: 'muted' }, unknown);
  const { hits, misses } = rate;
  return h('span', { title: plural(hits + misses, 'lookup') }, percent(hits, hits + misses));
}
