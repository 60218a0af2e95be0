// Show how often the keys of each family hit and miss, and what they matched instead.

import * as api from './api.mjs';
import { SPANS } from './activity.mjs';
import { spans } from './activity_section.mjs';
import { bones, h, named, size } from './dom.mjs';
import { count, percent, plural } from './format.mjs';
import { cards, cell, heads } from './list.mjs';
import { repositoryAt } from './route.mjs';
import { section } from './section.mjs';

const COLUMNS = [
  { title: 'Key family' },
  { title: 'Misses', kind: 'number' },
  { title: 'Hit rate', kind: 'number' },
  { title: 'Lookups', kind: 'number' },
  { title: 'By another key', kind: 'number' },
  { title: 'Restored', kind: 'number' },
  { title: 'Stored', kind: 'number' },
];

export function familiesSection(id) {
  let span = SPANS[1];
  const load = async () => {
    const { families, rest, more } = await api.families(id, span.hours);
    if (!families.length) return h('p', { class: 'muted' }, `No job looked anything up or saved in ${span.name}, and nothing is stored.`);
    return [
      h('p', { class: 'muted' }, 'A family is the keys that differ only in hashes, numbers, versions and dates; those that miss most come first.', more ? ' There was no time for the earliest hours, or for all entries.' : ''),
      cards('Key families', heads(COLUMNS, {}, null), [...families.map((family) => row(id, family)), rest.lookups || rest.stored_entries ? row(id, rest) : null].filter(Boolean), 'families'),
    ];
  };
  const choice = spans('families', (chosen) => { span = chosen; part.again(); });
  const part = section('Key families', load, { beside: choice, id: 'families', skeleton: bones(10) });
  return { part };
}

function row(id, family) {
  const [most, ...others] = family.matched;
  const matched = most ? `${most.family}: ${plural(most.hits, 'hit')}${others.length ? `, and ${count(others.length)} more` : ''}` : '';
  return h(
    'tr',
    { role: 'row' },
    h('th', { role: 'rowheader', scope: 'row' }, family.family ? h('a', { href: repositoryAt(id, 'entries', { family: family.family }) }, named(family.family, 'key')) : 'All others'),
    cell('Misses', count(family.misses), 'number'),
    cell('Hit rate', percent(family.lookups - family.misses, family.lookups), 'number'),
    cell('Lookups', count(family.lookups), 'number'),
    cell('By another key', [count(family.partial_hits), matched ? h('span', { class: 'muted part' }, named(matched)) : ''], 'number'),
    cell('Restored', size(family.bytes_restored), 'number'),
    cell('Stored', [size(family.stored_bytes), h('span', { class: 'unseen' }, ` in ${plural(family.stored_entries, 'entry', 'entries')}`)], 'number'),
  );
}
