// Say what failed, who was refused and who is nearly full, each with the way to what can be done.

import { h, named, refNamed, size, when } from './dom.mjs';
import { bytes, count, percent, plural } from './format.mjs';
import { overviewAt, repositoryAt } from './route.mjs';
import { isNearlyFull } from './usage.mjs';

const SHOWN = 5; // of a kind; the others are a click away

export async function attention(requests) {
  const [{ repositories: all, unread, store }, { failed_merges: merges, dead_letters: letters }, { refused_tokens: refused }] = await Promise.all([
    requests.repositories(),
    requests.failures(),
    requests.refused(),
  ]);
  const now = Date.now();
  const nameOf = (id) => all.find((repository) => repository.id === id)?.name ?? id;
  const share = ({ bytes: used, budget_bytes: budget }) => used / budget;
  const full = all.filter(isNearlyFull).sort((one, other) => share(other) - share(one));
  const kinds = [
    letters ? h('p', { class: 'item bad' }, `About ${plural(letters, 'message')} in the dead-letter queue, which nobody has worked off (docs/operate/runbook.md).`) : null,
    kind('bad', merges, (merge) => failedMerge(merge, nameOf, now)),
    kind('bad', refused, (job) => refusedJob(job, now)),
    isNearlyFull(store) ? h('p', { class: 'item nearly' }, `All repositories together use ${percent(store.bytes, store.budget_bytes)} of ${bytes(store.budget_bytes)}. At 100% what was used longest ago goes.`) : null,
    full.length ? nearlyFull(full) : null,
    unread ? h('p', { class: 'item' }, `There was no time to read ${plural(unread, 'further repository', 'further repositories')}: actions-cache usage shows all.`) : null,
  ].filter(Boolean);
  return kinds.length ? kinds : h('p', { class: 'muted' }, 'Nothing: no merge failed, no job was refused, and no repository uses 90% of its budget.');
}

function kind(className, all, item) {
  if (!all.length) return null;
  const items = (some) => h('ul', { class: 'items' }, some.map((one) => h('li', { class: `item ${className}` }, item(one))));
  const rest = all.slice(SHOWN);
  return h('div', {}, items(all.slice(0, SHOWN)), rest.length ? h('details', {}, h('summary', {}, `${count(rest.length)} more`), items(rest)) : null);
}

function failedMerge({ entry, ...merge }, nameOf, now) {
  return [
    h('div', {}, h('a', { href: repositoryAt(merge.repository, 'entries', { search: entry.key }) }, named(nameOf(merge.repository))), ': not merged after ', plural(merge.attempts, 'try', 'tries'), ', ', when(merge.failed_at, now)),
    h('div', { class: 'muted' }, named(entry.key, 'key'), ' · ', refNamed(entry.ref), ' · ', size(entry.size), ' · jobs restore it from its parts'),
  ];
}

function refusedJob(job, now) {
  return [
    h('div', {}, named(job.repository ?? `repository ${job.repository_id}`), ' of ', named(job.owner ?? job.owner_id ?? 'an unknown owner'), ' was refused ', plural(job.times, 'time'), ', ', when(job.last_at, now)),
    h('div', { class: 'muted' }, 'Its tokens of ', named(job.issuer), ' are good, but TokenClaims names other jobs. Its jobs go on without the cache.'),
    job.to_admit.length ? h('div', {}, 'To let it in, add to TokenClaims ', job.to_admit.map((value, index) => [index ? ', or ' : '', named(value, 'key')])) : null,
  ];
}

function nearlyFull(full) {
  const some = full.slice(0, SHOWN);
  const name = (repository) => [h('a', { href: repositoryAt(repository.id) }, named(repository.name ?? repository.id)), ` ${percent(repository.bytes, repository.budget_bytes)}`];
  return h(
    'p',
    { class: 'item nearly' },
    `${plural(full.length, 'repository uses', 'repositories use')} 90% of the budget or more: `,
    some.map((repository, index) => [index ? ', ' : '', name(repository)]),
    full.length > SHOWN ? [' and ', h('a', { href: overviewAt({ full: 1 }) }, `${count(full.length - SHOWN)} more`)] : null,
    '. At 100% what was used longest ago goes.',
  );
}
