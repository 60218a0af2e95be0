// List a repository's entries, with search, filters, sort and pages; delete one, or all that a search finds.

import * as api from './api.mjs';
import { confirm } from './dialog.mjs';
import { bones, h, later, named, refNamed, say, size, when } from './dom.mjs';
import { bytes, count, exactBytes, fullRef, plural, shortRef } from './format.mjs';
import { cards, cell, heads, orders, pageOf, pager } from './list.mjs';
import { repositoryAt, stay } from './route.mjs';
import { section } from './section.mjs';

const PER_PAGE = 25;

const COLUMNS = [
  { title: 'Key', sort: 'key', orders: ['Z to A', 'A to Z'] },
  { title: 'Ref' }, // the server doesn't sort by it
  { title: 'Size', sort: 'size', orders: ['largest first', 'smallest first'], kind: 'number' },
  { title: 'Hits', sort: 'hits', orders: ['most first', 'fewest first'], kind: 'number' },
  { title: 'Last use', sort: 'last_used_at', orders: ['newest first', 'oldest first'] },
  { title: 'Created', sort: 'created_at', orders: ['newest first', 'oldest first'] },
];

// What jobs restore as one object is as it should be, and isn't marked.
const STATES = {
  unmerged: ['in parts', 'Jobs restore it from its parts until it is merged.', ''],
  queued: ['queued', 'Its merge waits for a worker; jobs restore it from its parts.', ''],
  running: ['merging', 'A worker merges it; jobs restore it from its parts.', ''],
  failed: ['merge failed', 'Jobs restore it from its parts.', 'bad'],
};

const CLASSES = { 'default-branch': 'Default branch', branch: 'Other branches', transient: 'Pull requests, tags' };
const AGES = { '1d': '1 day', '3d': '3 days', '7d': '7 days', '14d': '14 days', '30d': '30 days' };
const FILTERS = ['search', 'ref', 'entry_class', 'unused_since', 'family'];
const DEFAULTS = { search: '', ref: '', entry_class: '', unused_since: '', family: '', sort: 'last_used_at', direction: 'desc', page: 1 };

export function entriesSection(id, params, role, refs, onDeleted) {
  const isAdmin = role === 'admin';
  const query = { ...DEFAULTS };
  Object.keys(DEFAULTS).forEach((name) => { query[name] = params.get(name) ?? DEFAULTS[name]; });
  query.page = pageOf(params);
  const filter = () => Object.fromEntries(FILTERS.filter((name) => query[name]).map((name) => [name, query[name]]));
  const change = async (changes) => {
    if (!part.element.isConnected) return; // another view is open, and the address belongs to it
    Object.assign(query, { page: 1 }, changes);
    stay(repositoryAt(id, 'entries', Object.fromEntries(Object.entries(query).filter(([name, value]) => value !== DEFAULTS[name]))));
    await part.again();
  };
  const text = (name, label, hint) => h('input', {
    type: 'search',
    id: `find-${name}`,
    value: query[name],
    placeholder: hint,
    maxlength: 512,
    autocomplete: 'off',
    autocapitalize: 'off',
    spellcheck: 'false',
    oninput: later(250, (event) => change({ [name]: event.target.value.trim() })),
  });
  const choice = (name, any, options) => h(
    'select',
    { id: `find-${name}`, onchange: (event) => change({ [name]: event.target.value }) },
    h('option', { value: '' }, any),
    Object.entries(options).map(([value, title]) => h('option', { value, selected: query[name] === value }, title)),
    query[name] && !options[query[name]] ? h('option', { value: query[name], selected: true }, query[name]) : null,
  );
  const inputs = {
    search: text('search', 'Key contains', 'node-modules'),
    ref: text('ref', 'Ref', 'main or #118'),
    entry_class: choice('entry_class', 'Any', CLASSES),
    unused_since: choice('unused_since', 'Any time', AGES),
    family: text('family', 'Key family', 'npm-*'),
  };
  const field = (name, label, more = null) => h('div', { class: 'field' }, h('label', { for: `find-${name}` }, label), inputs[name], more);
  const order = orders('order-entries', COLUMNS, query, (changes) => change(changes));
  const counted = h('p', { class: 'muted', role: 'status' });
  const bulk = h('div', {});
  const rows = h('div', {});
  const nodes = [
    h(
      'search',
      { class: 'filters' },
      field('search', 'Key contains'),
      field('ref', 'Ref', refs.suggest(inputs.ref)),
      field('entry_class', 'Saved by'),
      field('unused_since', 'Unused for'),
      field('family', 'Key family'),
      order.element,
    ),
    h('div', { class: 'row between found' }, counted, bulk),
    rows,
  ];
  const removed = async (message) => {
    await part.again();
    onDeleted();
    say(message);
    part.heading.focus(); // the button that had the focus is gone
  };
  const remove = async (entry) => {
    const done = await confirm({
      title: `Delete this entry of ${bytes(entry.size)}?`,
      text: [
        h('p', {}, named(entry.key, 'key whole')),
        h('p', { class: 'muted' }, refNamed(entry.ref), ' · ', size(entry.size), ' · ', plural(entry.hits, 'hit')),
        h('p', {}, 'Jobs that restore it at this moment still get all of it; later ones don’t find it. It can’t be brought back.'),
      ],
      yes: 'Delete',
      action: () => api.deleteEntry(id, entry.id),
    });
    if (done) await removed('The entry is deleted.');
  };
  const removeFound = async (event) => {
    const button = event.currentTarget;
    const given = filter();
    button.disabled = true;
    const preview = await api.previewDeletion(id, given).catch((error) => error);
    button.disabled = false;
    if (preview instanceof Error) {
      bulk.replaceChildren(button, h('p', { class: 'notice bad', role: 'alert' }, preview.message));
      return;
    }
    button.focus(); // where the dialog returns it to
    let left = 0;
    let gone = 0;
    let isCut = preview.more;
    const done = await confirm({
      title: `Delete ${plural(preview.matched.entries, 'entry', 'entries')}, ${bytes(preview.matched.bytes)}?`,
      text: previewed(given, preview),
      yes: 'Delete all',
      action: async (progress) => {
        for (let goes = true; goes;) {
          const { deleted, remaining, more } = await api.deleteEntries(id, { ...given, as_of: preview.as_of });
          gone += deleted.length;
          left = remaining;
          isCut = more;
          goes = deleted.length > 0 && remaining > 0;
          if (goes) progress(`${count(gone)} of ${count(preview.matched.entries)} deleted …`);
        }
      },
    });
    const rest = left > 0 ? ` ${plural(left, 'entry is', 'entries are')} left: try again.` : '';
    const others = isCut ? ' There was no time to look at all entries: use the commands to delete the others.' : '';
    if (done || gone) await removed(`${plural(gone, 'entry is', 'entries are')} deleted.${rest}${others}`);
  };

  const paint = (page, { entries, total, more }, pages) => {
    query.page = page;
    const given = filter();
    const isFiltered = Object.keys(given).length > 0;
    order.choose();
    const lately = more ? ' among those used last: narrow the search to see others' : '';
    counted.textContent = (isFiltered ? plural(total, 'entry matches', 'entries match') : plural(total, 'entry', 'entries')) + lately;
    const button = () => h('button', { type: 'button', class: 'danger', onclick: removeFound }, total === 1 ? 'Delete the one that matches …' : `Delete all ${count(total)} that match …`);
    bulk.replaceChildren(isAdmin && isFiltered && total ? button() : '');
    const columns = isAdmin ? [...COLUMNS, { title: 'Delete', hidden: true }] : COLUMNS;
    const now = Date.now();
    rows.replaceChildren(
      entries.length
        ? cards('Entries', heads(columns, query, change), entries.map((entry, index) => entryRow(id, entry, index, now, isAdmin ? remove : null)), 'entries')
        : nothing(given, refs, () => {
          FILTERS.forEach((name) => { inputs[name].value = ''; });
          change(Object.fromEntries(FILTERS.map((name) => [name, ''])));
          inputs.search.focus();
        }),
      pager(page, pages, (to) => change({ page: to }).then(() => part.heading.focus()), 'entries'),
    );
    return nodes;
  };
  const load = async () => {
    const current = { ...query };
    const ask = () => api.entries(id, { ...current, per_page: PER_PAGE });
    let listing = await ask();
    const pages = Math.max(1, Math.ceil(listing.total / PER_PAGE));
    if (current.page > pages) { // the page's entries are deleted
      current.page = pages;
      listing = await ask();
    }
    return () => paint(current.page, listing, pages);
  };
  const part = section('Entries', load, { id: 'entries', skeleton: bones(14) });
  return { part };
}

// Say in words what is asked for.
function described({ search, ref, entry_class: entryClass, unused_since: unused, family }) {
  return [
    search ? ['key contains ', named(search, 'key')] : null,
    ref ? ['ref ', named(shortRef(ref), 'key')] : null,
    entryClass ? `saved by ${(CLASSES[entryClass] ?? entryClass).toLowerCase()}` : null,
    unused ? `unused for ${AGES[unused] ?? unused}` : null,
    family ? ['key family ', named(family, 'key')] : null,
  ].filter(Boolean).map((part, index) => [index ? ' · ' : '', part]);
}

function previewed(given, { matched, more }) {
  const line = ({ ref, entries, bytes: number }) => h('tr', {}, h('th', { scope: 'row' }, refNamed(ref)), h('td', { class: 'number' }, count(entries)), h('td', { class: 'number', title: exactBytes(number) }, bytes(number)));
  const some = matched.refs.slice(0, 5);
  const others = matched.refs.slice(5).reduce((sum, { entries, bytes: number }) => ({ entries: sum.entries + entries, bytes: sum.bytes + number }), matched.other_refs);
  return [
    h('p', {}, 'All that match now: ', described(given), '.'),
    h(
      'table',
      { class: 'plain' },
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Ref'), h('th', { scope: 'col', class: 'number' }, 'Entries'), h('th', { scope: 'col', class: 'number' }, 'Size'))),
      h('tbody', {}, some.map(line), others.entries ? h('tr', {}, h('th', { scope: 'row' }, 'other refs'), h('td', { class: 'number' }, count(others.entries)), h('td', { class: 'number' }, bytes(others.bytes))) : null),
    ),
    more ? h('p', {}, 'There was no time to look at all entries: more may match than these.') : null,
    h('p', {}, 'Jobs that restore one at this moment still get all of it; later ones don’t find it. They can’t be brought back.'),
  ].filter(Boolean);
}

// Say why nothing is shown, and what to do.
function nothing(given, refs, clear) {
  if (!Object.keys(given).length) return h('p', { class: 'muted' }, 'Nothing is stored now. The next job that saves an entry brings it here.');
  const known = h('p', { class: 'muted' });
  if (given.ref) refs.known().then((names) => known.replaceChildren(...(names.length ? ['That is ', named(fullRef(given.ref), 'key'), '. The entries used last have the refs ', ...names.slice(0, 12).flatMap((name, index) => [index ? ', ' : '', named(name)]), '.'] : [])));
  return h('div', {}, h('p', {}, 'No entry matches: ', described(given), '. ', h('button', { type: 'button', onclick: clear }, 'Clear the filters')), known);
}

function entryRow(id, entry, index, now, remove) {
  const [state, why, tone] = STATES[entry.merge] ?? [];
  return h(
    'tr',
    { role: 'row' },
    h(
      'th',
      { role: 'rowheader', scope: 'row', id: `entry-${index}` },
      h(
        'details',
        {},
        h('summary', {}, named(entry.key, 'key'), state ? h('span', { class: `badge ${tone}`, title: why }, state) : null),
        h('dl', { class: 'facts' }, facts(entry, now).map(([name, value]) => [h('dt', {}, name), h('dd', {}, value)])),
      ),
    ),
    cell('', h('a', { href: repositoryAt(id, 'entries', { ref: shortRef(entry.ref) }), title: entry.ref }, named(shortRef(entry.ref))), 'ref'),
    cell('Size', size(entry.size), 'number'),
    cell('Hits', count(entry.hits), 'number'),
    cell('Last use', when(entry.last_used_at, now)),
    cell('Created', when(entry.created_at, now)),
    remove ? cell('', h('button', { type: 'button', class: 'danger quiet', 'aria-describedby': `entry-${index}`, onclick: () => remove(entry) }, 'Delete'), 'last') : null,
  );
}

function facts(entry, now) {
  const [, why] = STATES[entry.merge] ?? [null, entry.merge === 'single' ? 'It came as one object, which jobs restore.' : 'Merged: jobs restore one object.'];
  return [
    ['Key', named(entry.key)],
    ['Ref', named(entry.ref)],
    ['Version', named(entry.version)],
    ['Created', when(entry.created_at, now)],
    ['Id', String(entry.id)],
    ['State', why],
  ];
}
