// Show the estimated cost of a month on AWS, by part and by service.

import { h, size } from './dom.mjs';
import { dollars, plural } from './format.mjs';

const PARTS = {
  storage: 'Storage',
  saves: 'Saves, with their merges',
  restores: 'Restores',
  misses: 'Lookups that found nothing',
  idle: 'What costs while nobody builds',
};

export async function cost(load) {
  const month = await load();
  const done = month.requests;
  return [
    h(
      'p',
      { class: 'muted' },
      `AWS’s list prices, for a month that goes on like the last ${plural(month.hours / 24, 'day')}: `,
      size(month.stored_bytes),
      ` stored, ${plural(done.saves, 'save')}, ${plural(done.hits, 'restore')}, ${plural(done.misses, 'miss', 'misses')}.`,
    ),
    h(
      'div',
      { class: 'pair' },
      table('Part', Object.entries(month.by_part).map(([name, usd]) => [PARTS[name] ?? name, usd]), month.month_usd),
      table('Service', Object.entries(month.by_service).map(([name, usd]) => [PARTS[name] ?? name, usd]), month.month_usd),
    ),
    month.transfer_out_usd ? h('p', { class: 'muted' }, `Runners outside AWS’s region add up to ${dollars(month.transfer_out_usd)} for the transfer of what they restore.`) : null,
  ].filter(Boolean);
}

function table(what, lines, total) {
  const row = ([name, usd]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', { class: 'number', title: `${usd} USD` }, dollars(usd)));
  return h(
    'table',
    { class: 'plain' },
    h('caption', { class: 'unseen' }, `Estimated cost of a month on AWS, by ${what.toLowerCase()}`),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, what), h('th', { scope: 'col', class: 'number' }, 'USD'))),
    h('tbody', {}, lines.map(row)),
    h('tfoot', {}, row(['Total', total])),
  );
}
