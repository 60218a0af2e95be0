// Show the activity of jobs over a span of hours.

import * as api from './api.mjs';
import { SPANS, WEEK, buckets } from './activity.mjs';
import { hitRate, moved, numbers } from './chart.mjs';
import { bones, h } from './dom.mjs';
import { section } from './section.mjs';

// Create the charts, of one repository or of all, with a choice of their hours.
// `week` returns that of the last week, if it was asked for anyway.
export function activitySection(repository = '', week = () => api.activity(WEEK, repository)) {
  let span = SPANS[1];
  const load = async () => {
    const current = span;
    const hours = current.hours <= WEEK ? await week() : await api.activity(current.hours, repository);
    const made = buckets(hours, current, Date.now());
    return [h('div', { class: 'charts' }, hitRate(made, current), moved(made, current)), numbers(made, current)].filter(Boolean);
  };
  const choice = spans('charts', (chosen) => { span = chosen; part.again(); });
  const part = section('Activity', load, { beside: choice, id: 'activity', skeleton: bones(1, 'plot') });
  return part;
}

// Create a choice of hours, of which the week is chosen.
export function spans(what, choose) {
  return h(
    'fieldset',
    { class: 'choice' },
    h('legend', { class: 'unseen' }, `Span of the ${what}`),
    SPANS.map((option) => h(
      'label',
      {},
      h('input', { type: 'radio', name: `span-${what}`, checked: option === SPANS[1], onchange: () => choose(option) }),
      h('span', {}, option.name),
    )),
  );
}
