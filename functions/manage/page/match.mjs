// Ask the server which entry a key would restore, and explain its answer in words.

import * as api from './api.mjs';
import { bones, h, named, refNamed, size, when } from './dom.mjs';
import { count, fullRef, plural } from './format.mjs';
import { cards, cell, heads } from './list.mjs';
import { repositoryAt, stay } from './route.mjs';
import { section } from './section.mjs';

const DEFAULT_BRANCH = 'main';
const FEW = 12; // as many attempts are shown without a click

// Split as actions/cache splits its inputs: blanks around lines and empty lines are dropped.
const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

// Create the form, and below it the answer to the last question, which the address holds.
export function matchSection(id, params, refs) {
  const place = h('div', {});
  let answer = null;
  let question = null;
  const load = async () => {
    const current = question;
    return explained(await api.match(id, current), current);
  };
  const submit = async (submitted) => {
    question = submitted;
    stay(repositoryAt(id, 'match', { key: question.key, restore_key: question.restoreKeys, ref: question.refs, version: question.version }));
    if (answer) await answer.again();
    else {
      answer = section('What a job would restore', load, { id: 'answer', skeleton: bones(3) });
      place.replaceChildren(answer.element);
      await answer.first;
    }
    answer.heading.focus();
  };
  const asked = { key: params.get('key') ?? '', restoreKeys: params.getAll('restore_key'), refs: params.getAll('ref'), version: params.get('version') ?? '' };
  const made = form(asked, refs, submit);
  const part = section('Match a key', async () => made, { id: 'match' });
  if (asked.key && asked.refs.length) submit(asked);
  return { part, elements: [part.element, place], again: () => answer?.again() };
}

function form(asked, refs, submit) {
  const plain = { autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', maxlength: 512 };
  const input = (name, value, more = {}) => h('input', { ...plain, id: `match-${name}`, value, 'aria-describedby': `match-${name}-hint`, ...more });
  const key = input('key', asked.key, { required: true, placeholder: 'npm-linux-4f2a' });
  const version = input('version', asked.version);
  const restoreKeys = h('textarea', { ...plain, maxlength: null, id: 'match-restore-keys', rows: 3, 'aria-describedby': 'match-restore-keys-hint' }, asked.restoreKeys.join('\n'));
  // An answer from the address may name any number of refs; what a token names is its own, its base's and the default branch.
  const given = asked.refs.length ? asked.refs : ['', '', DEFAULT_BRANCH];
  const [own, base, main, ...more] = given.length === 1 ? [given[0], '', ''] : given.length === 2 ? [given[0], '', given[1]] : given;
  const names = [
    input('ref', own, { placeholder: '#118' }),
    input('base', base, { placeholder: 'release/2.4' }),
    input('default', main, { placeholder: DEFAULT_BRANCH }),
  ];
  const button = h('button', { type: 'submit', class: 'primary' }, 'Match');
  const asks = () => [...names.map((name) => name.value.trim()), ...more].filter(Boolean);
  const check = () => names[0].setCustomValidity(asks().length ? '' : 'Name at least one ref that the job may read.');
  names.forEach((name) => name.addEventListener('input', check));
  const onsubmit = async (event) => {
    event.preventDefault();
    key.value = key.value.trim();
    check();
    if (!event.target.reportValidity()) return; // the field had only blanks
    button.disabled = true;
    await submit({ key: key.value, restoreKeys: lines(restoreKeys.value), refs: asks(), version: version.value.trim() });
    button.disabled = false;
  };
  const field = (element, label, hint, beside = null) => h(
    'div',
    { class: 'field' },
    h('label', { for: element.id }, label),
    element,
    beside,
    h('p', { class: 'hint muted', id: `${element.id}-hint` }, hint),
  );
  return h(
    'form',
    { onsubmit, novalidate: true, 'aria-labelledby': 'match-title' },
    h('p', { class: 'muted' }, 'What would a job restore that asks for these, and why? It isn’t counted as a use.'),
    h(
      'div',
      { class: 'asking' },
      field(key, 'Key', 'As the workflow’s key: came out.'),
      field(restoreKeys, 'Restore keys', 'One a line, in their order.'),
      field(names[0], 'Ref of the job', 'A branch, or #118 for a pull request.', refs.suggest(names[0])),
      field(names[1], 'Its base', 'For a pull request: the branch it goes into.', refs.suggest(names[1])),
      field(names[2], 'Default branch', 'Which every job may read.', refs.suggest(names[2])),
      field(version, 'Version', 'Without it: each that such a key was saved with.'),
    ),
    more.length ? h('p', { class: 'muted' }, `And ${plural(more.length, 'further ref')} from the address.`) : null,
    button,
  );
}

function explained({ matches, alike }, question) {
  const now = Date.now();
  const intro = matches.length > 1
    ? h('p', { class: 'muted' }, `Keys like these were saved with ${plural(matches.length, 'version')}. A job asks for one, made of its paths and how they are compressed; this is what each would restore.`)
    : null;
  const nowhere = !alike.length && !matches.some((match) => match.found);
  return [
    intro,
    ...matches.map((match) => matchOf(match, question, now, matches.length === 1)),
    alike.length ? similar(alike, question, now) : null,
    nowhere ? h('p', {}, h('span', { class: 'badge' }, 'Miss'), ' No entry of this repository has a key that begins with one of these.') : null,
    h('p', { class: 'muted' }, 'No object was looked at: an entry whose object is gone is found here, and isn’t by a job.'),
  ].filter(Boolean);
}

function matchOf({ version, found, attempts }, question, now, isOnly) {
  const verdict = found
    ? h('p', {}, h('span', { class: 'badge good' }, 'Hit'), ' It restores ', named(found.key, 'key'), ' of ', refNamed(found.ref, 'key'), ', ', size(found.size), ', created ', when(found.created_at, now), ': ', because(attempts.at(-1), question))
    : h('p', {}, h('span', { class: 'badge' }, 'Miss'), ' It restores nothing: none of these refs has an entry of this version whose key begins so.');
  return h(
    'article',
    { class: 'match' },
    h('h3', {}, 'Version ', named(version, 'key')),
    verdict,
    h(
      'details',
      { open: isOnly && attempts.length <= FEW },
      h('summary', {}, `What was looked for: ${plural(attempts.length, 'attempt')}`),
      h('ol', { class: 'attempts' }, attempts.map((attempt) => h('li', {}, attempted(attempt, now)))),
    ),
  );
}

function because(attempt, question) {
  if (attempt.exact) return 'it has exactly this key.';
  if (attempt.key === question.key) return 'it is the newest whose key begins with the one asked for.';
  return ['it is the newest whose key begins with the restore key ', named(attempt.key, 'key'), '.'];
}

function attempted({ ref, key, exact, found }, now) {
  return [
    'In ',
    refNamed(ref, 'key'),
    exact ? ', the entry with exactly the key ' : ', the newest entry whose key begins with ',
    named(key, 'key'),
    ': ',
    found
      ? [h('strong', {}, 'found'), exact ? '' : [' ', named(found.key, 'key')], ', created ', when(found.created_at, now), '.']
      : 'none.',
  ];
}

function similar(alike, question, now) {
  const row = (entry) => h(
    'tr',
    { role: 'row' },
    h(
      'th',
      { role: 'rowheader', scope: 'row' },
      named(entry.key, 'key'),
      h('span', { class: 'muted part' }, 'Ref ', refNamed(entry.ref)),
      h('span', { class: 'muted part' }, 'Version ', named(entry.version)),
    ),
    cell('', whyNot(entry, question), 'why'),
    cell('Size', size(entry.size), 'number'),
    cell('Created', when(entry.created_at, now)),
  );
  const columns = [{ title: 'Key' }, { title: 'Why not' }, { title: 'Size', kind: 'number' }, { title: 'Created' }];
  return h(
    'div',
    { class: 'match' },
    h('h3', {}, 'Similar entries elsewhere'),
    h('p', { class: 'muted' }, alike.length === 1
      ? 'One entry has a key that begins so; the job wouldn’t find it.'
      : `${count(alike.length)} entries have keys that begin so, last used first; the job wouldn’t find them.`),
    cards('Similar entries elsewhere', heads(columns, {}, null), alike.map(row), 'alike'),
  );
}

function whyNot(entry, { refs, version }) {
  const reasons = [
    refs.map(fullRef).includes(entry.ref) ? null : 'of another ref',
    version && entry.version !== version ? 'of another version' : null,
  ].filter(Boolean);
  return reasons.join(', and ') || 'saved meanwhile';
}
