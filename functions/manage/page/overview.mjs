// Show all repositories together: what needs attention, their usage, the activity of jobs, and the cost.

import * as api from './api.mjs';
import { WEEK, sum } from './activity.mjs';
import { activitySection } from './activity_section.mjs';
import { attention } from './attention.mjs';
import { cost } from './cost.mjs';
import { bones, h, size } from './dom.mjs';
import { bytes, count, dollars, percent, plural } from './format.mjs';
import { repositoryList } from './repositories.mjs';
import { overviewAt } from './route.mjs';
import { section } from './section.mjs';
import { isNearlyFull } from './usage.mjs';

export function overview({ place, query }) {
  const requests = {
    repositories: once(api.repositories),
    failures: once(api.failures),
    refused: once(api.refusedTokens),
    cost: once(api.cost),
    week: once(() => api.activity(WEEK)), // the longest read, so it is shared
  };
  const list = repositoryList(requests.repositories, query);
  const parts = {
    glance: section('At a glance', () => glance(requests), { id: 'glance', skeleton: bones(6, 'tiles') }),
    attention: section('Needs attention', () => attention(requests), { id: 'attention', skeleton: bones(2) }),
    repositories: list.part,
    activity: activitySection('', requests.week),
    cost: section('Cost of a month on AWS', () => cost(requests.cost), { id: 'cost', skeleton: bones(8) }),
  };
  const sections = Object.values(parts);
  const title = h('h1', { class: 'unseen', tabindex: '-1' }, 'Overview');
  const goTo = (name) => {
    const part = parts[name];
    if (!part) return;
    part.element.scrollIntoView({ block: 'start' });
    part.heading.focus({ preventScroll: true });
  };
  if (parts[place]) Promise.all(sections.map((part) => part.first)).then(() => parts[place].element.isConnected && goTo(place));
  return {
    title: 'Overview',
    elements: [title, ...sections.map((part) => part.element)],
    again: () => {
      Object.values(requests).forEach((request) => request.forget());
      list.forget();
      return Promise.all(sections.map((part) => part.again()));
    },
    // Show another address of the overview; return false if that is another view.
    adopt: (to) => {
      if (to.id !== null) return false;
      list.take(to.query);
      if (parts[to.place]) goTo(to.place);
      else if (to.query.size) goTo('repositories');
      else {
        window.scrollTo(0, 0);
        title.focus({ preventScroll: true });
      }
      return true;
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
  const [{ repositories: all, store }, day, month, failed, { refused_tokens: refused }] = await Promise.all([
    requests.repositories(),
    requests.week().then((hours) => sum(hours.slice(-24))),
    requests.cost(),
    requests.failures(),
    requests.refused(),
  ]);
  const lookups = day.hits + day.misses;
  const failureCount = Math.max(failed.failed_merges.length, failed.dead_letters);
  const full = all.filter(isNearlyFull).length;
  const budget = store.budget_bytes ? ` of ${bytes(store.budget_bytes)}` : '';
  return h(
    'ul',
    { class: 'tiles' },
    tile('#/attention', 'Failed', count(failureCount + refused.length), refused.length ? `${plural(refused.length, 'repository', 'repositories')} refused` : 'merges', failureCount + refused.length ? 'bad' : null),
    tile(overviewAt({ full: 1 }), 'Nearly full', count(full), `of ${plural(all.length, 'repository', 'repositories')}`, full ? 'nearly' : null),
    tile('#/activity', 'Hit rate, 24 hours', percent(day.hits, lookups), plural(lookups, 'lookup')),
    tile('#/activity', 'Restored, 24 hours', size(day.bytes_restored), `${bytes(day.bytes_saved)} saved`),
    tile('#/repositories', 'Stored', size(store.bytes), `${plural(store.entries, 'entry', 'entries')}${budget}`),
    tile('#/cost', 'A month on AWS', dollars(month.month_usd), 'an estimate'),
  );
}

function tile(to, name, value, note, className = null) {
  return h('li', { class: className }, h('a', { href: to }, h('span', {}, name), ' ', h('strong', {}, value), ' ', h('span', {}, note)));
}
