// Show one repository: its usage, its entries with search, sort, pages and deletion, key matching, and its activity.

import * as api from './api.mjs';
import { confirm } from './dialog.mjs';
import { h, later, named, say, size, when } from './dom.mjs';
import { count, plural } from './format.mjs';
import { matchSection } from './match.mjs';
import { activitySection, address } from './overview.mjs';
import { section } from './section.mjs';
import { usageBar } from './usage.mjs';

const PER_PAGE = 25;
const DEFAULT_SORT = 'last_used_at';

// `sort` is the API's name for the order; the server doesn't sort by columns without one.
const COLUMNS = [
  { title: 'Key', sort: 'key', orders: ['Z to A', 'A to Z'] },
  { title: 'Size', sort: 'size', orders: ['largest first', 'smallest first'], kind: 'number' },
  { title: 'Hits', sort: 'hits', orders: ['most first', 'fewest first'], kind: 'number' },
  { title: 'Last use', sort: 'last_used_at', orders: ['newest first', 'oldest first'] },
  { title: 'Created', sort: 'created_at', orders: ['newest first', 'oldest first'] },
  { title: 'State' },
];

const STATES = {
  single: ['One object', 'It came as one object; there is nothing to merge.', 'good'],
  merged: ['Merged', 'Jobs restore one object, straight from S3.', 'good'],
  unmerged: ['In parts', 'Jobs restore it from its parts until it is merged.', ''],
  queued: ['Queued', 'Its merge waits for a worker.', ''],
  running: ['Merging', 'A worker merges it.', ''],
  failed: ['Merge failed', 'Jobs restore it from its parts.', 'bad'],
};

export function repository(id, params, role) {
  const title = h('h1', { tabindex: '-1' }, named(id));
  const about = section('Usage', async () => {
    const found = await api.repository(id);
    title.replaceChildren(named(found.name ?? id));
    if (title.isConnected) document.title = `${found.name ?? id} – Actions cache`;
    return h(
      'div',
      { class: 'about' },
      usageBar(found.bytes, found.budget_bytes, { long: true }),
      h('p', { class: 'muted' }, plural(found.entries, 'entry', 'entries'), ' · last use ', when(found.last_used_at, Date.now()), ' · id ', named(id)),
    );
  }, { id: 'usage' });
  const listed = entriesSection(id, params, role, () => about.again());
  const match = matchSection(id, params.get('ref') ?? '');
  const activity = activitySection(id);
  return {
    title: id,
    elements: [
      h('nav', { 'aria-label': 'Where you are' }, h('a', { href: '#/' }, '← All repositories')),
      title,
      about.element,
      listed.element,
      ...match.elements,
      activity.element,
    ],
    again: () => [about, listed, match, activity].forEach((part) => part.again()),
  };
}

function entriesSection(id, params, role, onDeleted) {
  const query = {
    search: params.get('search') ?? '',
    ref: params.get('ref') ?? '',
    sort: params.get('sort') ?? DEFAULT_SORT,
    direction: params.get('direction') ?? 'desc',
    page: Math.max(1, Number.parseInt(params.get('page'), 10) || 1),
  };
  const change = async (changes) => {
    if (!listed.element.isConnected) return; // another view is open, and the address belongs to it
    Object.assign(query, { page: 1 }, changes);
    const kept = Object.entries(query).filter(([name, value]) => value && !(name === 'page' && value === 1));
    window.history.replaceState(null, '', `${address(id)}?${new URLSearchParams(kept)}`);
    await listed.again();
  };
  const field = (name, label, hint) => h(
    'div',
    { class: 'field' },
    h('label', { for: `find-${name}` }, label),
    h('input', {
      type: 'search',
      id: `find-${name}`,
      value: query[name],
      placeholder: hint,
      maxlength: 512,
      autocomplete: 'off',
      autocapitalize: 'off',
      spellcheck: 'false',
      oninput: later(250, (event) => change({ [name]: event.target.value.trim() })),
    }),
  );
  const order = h(
    'select',
    { id: 'order', onchange: (event) => { const [sort, direction] = event.target.value.split(' '); change({ sort, direction }); } },
    COLUMNS.filter((column) => column.sort).flatMap((column) => [
      h('option', { value: `${column.sort} desc` }, `${column.title}, ${column.orders[0]}`),
      h('option', { value: `${column.sort} asc` }, `${column.title}, ${column.orders[1]}`),
    ]),
  );
  const filters = h(
    'search',
    { class: 'filters' },
    field('search', 'Key contains', 'node-modules'),
    field('ref', 'Ref', 'refs/heads/main'),
    h('div', { class: 'field' }, h('label', { for: 'order' }, 'Sort by'), order),
  );
  const counted = h('p', { class: 'muted', role: 'status' });
  const rest = h('div', {});
  const rows = h('div', {});
  const removed = async (message) => {
    await listed.again();
    onDeleted();
    say(message);
    listed.heading.focus(); // the button that had the focus is gone
  };
  const remove = async (entry) => {
    const done = await confirm({
      title: 'Delete this entry?',
      text: [
        h('p', {}, named(entry.key, 'key')),
        h('p', { class: 'muted' }, named(entry.ref), ' · ', size(entry.size)),
        h('p', {}, 'Jobs that restore it at this moment still get all of it; later ones don’t find it. It can’t be brought back.'),
      ],
      yes: 'Delete',
      action: () => api.deleteEntry(id, entry.id),
    });
    if (done) await removed('The entry is deleted.');
  };
  const removeAllOf = async (ref, button) => {
    button.disabled = true;
    const preview = await api.previewDeletion(id, { ref }).catch((error) => error);
    button.disabled = false;
    if (preview instanceof Error) {
      rest.replaceChildren(h('p', { class: 'notice bad', role: 'alert' }, preview.message));
      return;
    }
    button.focus(); // where the dialog returns it to
    const { as_of, matched } = preview;
    let count = 0;
    let left = 0;
    let unseen = false;
    const done = await confirm({
      title: `Delete ${plural(matched.entries, 'entry', 'entries')}?`,
      text: [
        h('p', {}, 'All entries of ', named(ref, 'key'), ' that are there now: ', size(matched.bytes)),
        h('p', {}, 'Jobs that restore one at this moment still get all of it; later ones don’t find it. They can’t be brought back.'),
      ],
      yes: 'Delete all',
      action: async () => {
        for (let goes = true; goes;) {
          const { deleted, remaining, more } = await api.deleteEntries(id, { ref, as_of });
          count += deleted.length;
          left = remaining;
          unseen = more;
          goes = deleted.length > 0 && remaining > 0;
        }
      },
    });
    const rest = left > 0 ? ` ${plural(left, 'entry is', 'entries are')} left: try again.` : '';
    const others = unseen ? ' There was no time to look at all entries: use the command line to delete the others.' : '';
    if (done) await removed(`${plural(count, 'entry is', 'entries are')} deleted.${rest}${others}`);
  };

  const parts = [filters, h('div', { class: 'row between found' }, counted, rest), rows];
  const paint = ({ search, ref, page }, { entries, total, more }, pages) => {
    query.page = page;
    order.value = `${query.sort} ${query.direction}`;
    const isAdmin = role === 'admin';
    const lately = more ? ' among those used last: narrow the search to see others' : '';
    counted.textContent = (search || ref ? plural(total, 'entry matches', 'entries match') : plural(total, 'entry', 'entries')) + lately;
    rest.replaceChildren(
      isAdmin && ref && !search && total
        ? h('button', { type: 'button', class: 'danger', onclick: (event) => removeAllOf(ref, event.currentTarget) }, 'Delete all of this ref')
        : '',
    );
    rows.replaceChildren(
      entries.length ? table(entries, query, change, isAdmin ? remove : null) : '',
      pages > 1 ? pager(page, pages, (to) => change({ page: to }).then(() => listed.heading.focus())) : '',
    );
    return parts;
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
    return () => paint(current, listing, pages);
  };
  const listed = section('Entries', load, { id: 'entries' });
  return listed;
}

function table(entries, query, change, remove) {
  const now = Date.now();
  const heads = COLUMNS.map(({ title, sort, kind }) => {
    const mine = sort && sort === query.sort;
    const sorted = query.direction === 'asc' ? 'ascending' : 'descending';
    const turn = async () => {
      await change({ sort, direction: mine && query.direction === 'desc' ? 'asc' : 'desc' });
      document.querySelector('[aria-sort] button')?.focus(); // the table was replaced
    };
    const content = sort
      ? h('button', { type: 'button', class: 'sort', onclick: turn }, title, h('span', { class: 'arrow', 'aria-hidden': 'true' }, mine ? (query.direction === 'asc' ? ' ↑' : ' ↓') : ''))
      : title;
    return h('th', { role: 'columnheader', scope: 'col', class: kind, 'aria-sort': mine ? sorted : null }, content);
  });
  return h(
    'table',
    { role: 'table', class: 'cards entries' },
    h('caption', { class: 'unseen' }, 'Entries'),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads, remove ? h('th', { role: 'columnheader', scope: 'col' }, h('span', { class: 'unseen' }, 'Delete')) : null)),
    h('tbody', { role: 'rowgroup' }, entries.map((entry, index) => entryRow(entry, index, now, remove))),
  );
}

function entryRow(entry, index, now, remove) {
  const cell = (label, content, kind = '') => h('td', { role: 'cell', class: kind, 'data-label': label }, content);
  const [state, why, tone] = STATES[entry.merge] ?? [entry.merge, '', ''];
  return h(
    'tr',
    { role: 'row' },
    h(
      'th',
      { role: 'rowheader', scope: 'row', id: `entry-${index}` },
      h('details', {}, h('summary', {}, named(entry.key, 'key')), h('dl', { class: 'facts' }, h('dt', {}, 'Key'), h('dd', {}, named(entry.key)), h('dt', {}, 'Version'), h('dd', {}, named(entry.version)), h('dt', {}, 'Id'), h('dd', {}, String(entry.id)))),
      h('span', { class: 'muted ref' }, named(entry.ref)),
    ),
    cell('Size', size(entry.size), 'number'),
    cell('Hits', count(entry.hits), 'number'),
    cell('Last use', when(entry.last_used_at, now)),
    cell('Created', when(entry.created_at, now)),
    cell('State', h('span', { class: `badge ${tone}`, title: why }, state)),
    remove ? cell('', h('button', { type: 'button', class: 'danger quiet', 'aria-describedby': `entry-${index}`, onclick: () => remove(entry) }, 'Delete'), 'last') : null,
  );
}

function pager(page, pages, go) {
  const step = (text, to, off) => h('button', { type: 'button', disabled: off, onclick: () => go(to) }, text);
  return h(
    'nav',
    { class: 'row', 'aria-label': 'Pages of entries' },
    step('Previous', page - 1, page <= 1),
    h('span', {}, `Page ${count(page)} of ${count(pages)}`),
    step('Next', page + 1, page >= pages),
  );
}
