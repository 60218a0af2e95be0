// Long lists: columns to sort by, and pages. The list's query has `sort`, `direction` and `page`.

import { h } from './dom.mjs';
import { count } from './format.mjs';

// Create the heads of columns { title, sort, orders, kind }; those without `sort` aren't sorted by.
export function heads(columns, query, change) {
  return columns.map(({ title, sort, kind, hidden }) => {
    const mine = sort && sort === query.sort;
    const sorted = query.direction === 'asc' ? 'ascending' : 'descending';
    const turn = async (event) => {
      const place = event.target.closest('section');
      await change({ sort, direction: mine && query.direction === 'desc' ? 'asc' : 'desc' });
      place.querySelector('[aria-sort] button')?.focus(); // the table was replaced
    };
    const arrow = () => h('span', { class: 'arrow', 'aria-hidden': 'true' }, query.direction === 'asc' ? ' ↑' : ' ↓');
    const content = sort ? h('button', { type: 'button', class: 'sort', onclick: turn }, title, mine ? arrow() : '') : title;
    return h('th', { role: 'columnheader', scope: 'col', class: kind, 'aria-sort': mine ? sorted : null }, hidden ? h('span', { class: 'unseen' }, title) : content);
  });
}

// Create a choice of the orders, for screens without heads; `choose()` shows the query's.
export function orders(id, columns, query, change) {
  const select = h(
    'select',
    { id, onchange: (event) => { const [sort, direction] = event.target.value.split(' '); change({ sort, direction }); } },
    columns.filter((column) => column.sort).flatMap(({ title, sort, orders: [first, second] }) => [
      h('option', { value: `${sort} desc` }, `${title}, ${first}`),
      h('option', { value: `${sort} asc` }, `${title}, ${second}`),
    ]),
  );
  const element = h('div', { class: 'field order' }, h('label', { for: id }, 'Sort by'), select);
  return { element, choose: () => { select.value = `${query.sort} ${query.direction}`; } };
}

export function pager(page, pages, go, what) {
  if (pages <= 1) return '';
  const step = (text, to, off) => h('button', { type: 'button', disabled: off, onclick: () => go(to) }, text);
  return h(
    'nav',
    { class: 'row pager', 'aria-label': `Pages of ${what}` },
    step('Previous', page - 1, page <= 1),
    h('span', {}, `Page ${count(page)} of ${count(pages)}`),
    step('Next', page + 1, page >= pages),
  );
}

// Create a table whose rows become cards on a phone; it says its roles itself, since display takes them away there.
export function cards(caption, headCells, rows, className = '') {
  return h(
    'table',
    { role: 'table', class: `cards ${className}`.trim() },
    h('caption', { class: 'unseen' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, headCells)),
    h('tbody', { role: 'rowgroup' }, rows),
  );
}

export const cell = (label, content, kind = null) => h('td', { role: 'cell', class: kind, 'data-label': label }, content);

// Read a page's number, which anybody may have written into the address.
export const pageOf = (query) => Math.max(1, Number.parseInt(query.get('page'), 10) || 1);
