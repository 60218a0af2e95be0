// Draw two small charts over the same hours, as wide as their place is, and a table with the same numbers.

import { describe, roundBytes, sum, tick } from './activity.mjs';
import { h, svg } from './dom.mjs';
import { bytes, count, exactBytes, percent, plural } from './format.mjs';

const HEIGHT = 150;
const LEFT = 62; // for the scale's labels
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 24;
const MIN_TICK = 46; // between two labels under the axis

const lookups = (bucket) => bucket.hits + bucket.misses;

export function hitRate(made, span) {
  const total = sum(made);
  const all = lookups(total);
  return chart({
    title: 'Hit rate',
    summary: all ? `${percent(total.hits, all)} of ${plural(all, 'lookup')} in ${span.name}` : `No lookups in ${span.name}`,
    legend: [],
    made,
    span,
    scale: [0, 0.5, 1].map((at) => [at, `${at * 100}%`]),
    readout: (bucket) => (lookups(bucket) ? `${percent(bucket.hits, lookups(bucket))} of ${plural(lookups(bucket), 'lookup')}` : 'no lookups'),
    draw: drawRates,
  });
}

export function moved(made, span) {
  const most = Math.max(1, ...made.map((bucket) => Math.max(bucket.bytes_restored, bucket.bytes_saved)));
  const top = roundBytes(most);
  const total = sum(made);
  return chart({
    title: 'Bytes',
    summary: `${bytes(total.bytes_restored)} restored, ${bytes(total.bytes_saved)} saved in ${span.name}`,
    legend: [['restored', 'Restored'], ['saved', 'Saved']],
    made,
    span,
    scale: [[0, '0'], [0.5, bytes(top / 2)], [1, bytes(top)]],
    readout: (bucket) => `${bytes(bucket.bytes_restored)} restored, ${bytes(bucket.bytes_saved)} saved`,
    draw: (place) => drawBars(place, top),
  });
}

// Draw a line, with gaps where no job looked anything up.
function drawRates({ made, x, y }) {
  const marks = [];
  let run = [];
  const end = () => {
    if (run.length > 1) {
      const line = run.map(([across, up], index) => `${index ? 'L' : 'M'}${across},${up}`).join('');
      marks.push(svg('path', { class: 'area', d: `${line}L${run.at(-1)[0]},${y(0)}L${run[0][0]},${y(0)}Z` }));
      marks.push(svg('path', { class: 'line', d: line }));
    }
    marks.push(...run.map(([cx, cy]) => svg('circle', { class: 'dot', cx, cy, r: 2.5 })));
    run = [];
  };
  made.forEach((bucket, index) => {
    if (lookups(bucket)) run.push([round(x(index + 0.5)), round(y(bucket.hits / lookups(bucket)))]);
    else end();
  });
  end();
  return marks;
}

function drawBars({ made, x, y, step }, top) {
  const width = Math.max(1, Math.min(14, step * 0.38));
  const bar = (value, from, name) => {
    if (!value) return null;
    const height = Math.max(1.5, y(0) - y(value / top));
    return svg('rect', { class: name, x: round(from), y: round(y(0) - height), width: round(width), height: round(height), rx: 1 });
  };
  return made.flatMap((bucket, index) => {
    const middle = x(index + 0.5);
    return [bar(bucket.bytes_restored, middle - width - 0.5, 'restored'), bar(bucket.bytes_saved, middle + 0.5, 'saved')];
  });
}

function chart({ title, summary, legend, made, span, scale, readout, draw }) {
  const caption = h('p', { class: 'readout' }, summary);
  const place = h('div', { class: 'plot' });
  const paint = (width) => {
    const step = (width - LEFT - RIGHT) / made.length;
    const x = (index) => LEFT + index * step;
    const y = (share) => HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP);
    const shade = svg('rect', { class: 'shade', y: TOP, width: round(step), height: HEIGHT - BOTTOM - TOP, visibility: 'hidden' });
    const drawing = svg(
      'svg',
      { role: 'img', 'aria-label': `${title}. ${summary}. The same in numbers is in the table below.`, width, height: HEIGHT },
      shade,
      scale.map(([share, text]) => [
        svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(share), y2: y(share) }),
        svg('text', { x: LEFT - 8, y: y(share) + 4, 'text-anchor': 'end' }, text),
      ]),
      ticks(made, span, step).map(([index, text]) => (
        svg('text', { x: round(x(index)), y: HEIGHT - 6, 'text-anchor': 'start' }, text)
      )),
      draw({ made, x, y, step }),
    );
    drawing.addEventListener('pointermove', (event) => {
      const index = Math.floor((event.offsetX - LEFT) / step);
      const bucket = made[index];
      if (!bucket) return;
      shade.setAttribute('x', round(x(index)));
      shade.setAttribute('visibility', 'visible');
      caption.textContent = `${describe(bucket, span)}: ${readout(bucket)}`;
    });
    drawing.addEventListener('pointerleave', () => {
      shade.setAttribute('visibility', 'hidden');
      caption.textContent = summary;
    });
    place.replaceChildren(drawing);
  };
  let painted = 0;
  new ResizeObserver(([{ contentRect }]) => {
    const width = Math.floor(contentRect.width);
    if (width > LEFT && width !== painted) paint(painted = width);
  }).observe(place);
  return h(
    'figure',
    { class: 'chart' },
    h('figcaption', {}, h('h3', {}, title), legend.map(([name, text]) => h('span', { class: `key ${name}` }, text))),
    caption,
    place,
  );
}

// Return the labels under the axis, as many as there is room for.
function ticks(made, span, step) {
  const found = [];
  made.forEach((bucket, index) => {
    const text = tick(bucket, span);
    const room = (made.length - index) * step >= MIN_TICK * 0.7;
    if (text && room && (!found.length || (index - found.at(-1)[0]) * step >= MIN_TICK)) found.push([index, text]);
  });
  return found;
}

const round = (number) => Math.round(number * 10) / 10;

export function numbers(made, span) {
  const worth = made.filter((bucket) => lookups(bucket) || bucket.saves).reverse();
  if (!worth.length) return null;
  const cell = (shown, exact = null) => h('td', { class: 'number', title: exact }, shown);
  const heads = ['Lookups', 'Hits', 'Hit rate', 'Restored', 'Saves', 'Saved'];
  return h(
    'details',
    {},
    h('summary', {}, 'The same as a table'),
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Activity as a table' },
      h(
        'table',
        { class: 'plain' },
        h('caption', { class: 'unseen' }, `Activity in ${span.name}, the newest first`),
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'When'), heads.map((head) => h('th', { scope: 'col', class: 'number' }, head)))),
        h('tbody', {}, worth.map((bucket) => h(
          'tr',
          {},
          h('th', { scope: 'row' }, describe(bucket, span)),
          cell(count(lookups(bucket))),
          cell(count(bucket.hits)),
          cell(percent(bucket.hits, lookups(bucket))),
          cell(bytes(bucket.bytes_restored), exactBytes(bucket.bytes_restored)),
          cell(count(bucket.saves)),
          cell(bytes(bucket.bytes_saved), exactBytes(bucket.bytes_saved)),
        ))),
      ),
    ),
  );
}
