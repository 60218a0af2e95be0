// Ask the server which entry a key would restore, and explain its answer in words.

import * as api from './api.mjs';
import { h, named, size, when } from './dom.mjs';
import { count, plural } from './format.mjs';
import { section } from './section.mjs';

const DEFAULT_REF = 'refs/heads/main';
const FEW = 12; // as many attempts are shown without a click

// Split as actions/cache splits its inputs: blanks around lines and empty lines are dropped.
const lines = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

// Create the form, and below it the answer to the last question. `ref` is the ref that the entries are filtered by.
export function matchSection(id, ref = '') {
  const place = h('div', {});
  let answer = null;
  let question = null;
  const load = async () => {
    const current = question;
    return explained(await api.match(id, current), current);
  };
  const submit = async (submitted) => {
    question = submitted;
    if (answer) await answer.again();
    else {
      answer = section('What a job would restore', load, { id: 'answer' });
      place.replaceChildren(answer.element);
      await answer.first;
    }
    answer.heading.focus();
  };
  const made = form([...new Set([ref, DEFAULT_REF])].filter(Boolean), submit);
  const asking = section('Match a key', async () => made, { id: 'match' });
  return { elements: [asking.element, place], again: () => answer?.again() };
}

function form(refs, submit) {
  const plain = { autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false' };
  const key = h('input', { ...plain, id: 'match-key', required: true, maxlength: 512, placeholder: 'npm-linux-4f2a' });
  const version = h('input', { ...plain, id: 'match-version', maxlength: 512, 'aria-describedby': 'match-version-hint' });
  const restoreKeys = h('textarea', { ...plain, id: 'match-restore-keys', rows: 3, 'aria-describedby': 'match-restore-keys-hint' });
  const names = h('textarea', { ...plain, id: 'match-refs', rows: 3, required: true, 'aria-describedby': 'match-refs-hint' }, refs.join('\n'));
  const button = h('button', { type: 'submit', class: 'primary' }, 'Match');
  const onsubmit = async (event) => {
    event.preventDefault();
    key.value = key.value.trim();
    names.value = lines(names.value).join('\n');
    if (!event.target.reportValidity()) return; // the field had only blanks
    button.disabled = true;
    await submit({ key: key.value, restoreKeys: lines(restoreKeys.value), refs: lines(names.value), version: version.value.trim() });
    button.disabled = false;
  };
  const field = (input, label, hint) => h(
    'div',
    { class: 'field' },
    h('label', { for: input.id }, label),
    input,
    hint ? h('p', { class: 'hint muted', id: `${input.id}-hint` }, hint) : null,
  );
  return h(
    'form',
    { onsubmit, 'aria-labelledby': 'match-title' },
    h('p', { class: 'muted' }, 'What would a job restore that asks for these, and why? It isn’t counted as a use.'),
    h(
      'div',
      { class: 'asking' },
      field(key, 'Key'),
      field(version, 'Version (optional)', 'Without it: each that such a key was saved with.'),
      field(restoreKeys, 'Restore keys', 'One a line, in their order.'),
      field(names, 'Refs', 'One a line, in the order in which the job reads them: its own, its base’s, the default branch.'),
    ),
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
    ? h('p', {}, h('span', { class: 'badge good' }, 'Hit'), ' It restores ', named(found.key, 'key'), ' of ', named(found.ref, 'key'), ', ', size(found.size), ', created ', when(found.created_at, now), ': ', because(attempts.at(-1), question))
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
    named(ref, 'key'),
    exact ? ', the entry with exactly the key ' : ', the newest entry whose key begins with ',
    named(key, 'key'),
    ': ',
    found
      ? [h('strong', {}, 'found'), exact ? '' : [' ', named(found.key, 'key')], ', created ', when(found.created_at, now), '.']
      : 'none.',
  ];
}

function similar(alike, question, now) {
  const cell = (label, content, kind = null) => h('td', { role: 'cell', class: kind, 'data-label': label }, content);
  const row = (entry) => h(
    'tr',
    { role: 'row' },
    h(
      'th',
      { role: 'rowheader', scope: 'row' },
      named(entry.key, 'key'),
      h('span', { class: 'muted part' }, 'Ref ', named(entry.ref)),
      h('span', { class: 'muted part' }, 'Version ', named(entry.version)),
    ),
    cell('', whyNot(entry, question), 'why'),
    cell('Size', size(entry.size), 'number'),
    cell('Created', when(entry.created_at, now)),
  );
  const heads = [['Key'], ['Why not'], ['Size', 'number'], ['Created']];
  return h(
    'div',
    { class: 'match' },
    h('h3', { id: 'alike-title' }, 'Similar entries elsewhere'),
    h('p', { class: 'muted' }, alike.length === 1
      ? 'One entry has a key that begins so; the job wouldn’t find it.'
      : `${count(alike.length)} entries have keys that begin so, last used first; the job wouldn’t find them.`),
    h(
      'table',
      { role: 'table', class: 'cards alike', 'aria-labelledby': 'alike-title' },
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads.map(([text, kind]) => h('th', { role: 'columnheader', scope: 'col', class: kind }, text)))),
      h('tbody', { role: 'rowgroup' }, alike.map(row)),
    ),
  );
}

function whyNot(entry, { refs, version }) {
  const reasons = [
    refs.includes(entry.ref) ? null : 'of another ref',
    version && entry.version !== version ? 'of another version' : null,
  ].filter(Boolean);
  return reasons.join(', and ') || 'saved meanwhile';
}
