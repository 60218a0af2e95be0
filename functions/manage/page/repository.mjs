// Show one repository: how much it uses and, in tabs, its entries, what a key would match, its activity and key families.

import * as api from './api.mjs';
import { activitySection } from './activity_section.mjs';
import { bones, h, named, when } from './dom.mjs';
import { plural } from './format.mjs';
import { entriesSection } from './entries.mjs';
import { familiesSection } from './families.mjs';
import { matchSection } from './match.mjs';
import { refsOf } from './refs.mjs';
import { repositoryAt } from './route.mjs';
import { forget, section } from './section.mjs';
import { usageBar } from './usage.mjs';

const TABS = { entries: 'Entries', match: 'Match', activity: 'Activity', families: 'Families' };

export function repository({ id, tab, query }, role) {
  const title = h('h1', { tabindex: '-1' }, named(id));
  const place = h('div', {});
  const refs = refsOf(id);
  const about = section('Usage', async () => {
    const found = await api.repository(id).catch((error) => {
      if (error.status === 404 && place.isConnected) missing(view, id, error);
      throw error;
    });
    title.replaceChildren(named(found.name ?? id));
    if (title.isConnected) document.title = `${found.name ?? id} – Actions cache`;
    return h(
      'div',
      { class: 'about' },
      usageBar(found.bytes, found.budget_bytes),
      h('span', { class: 'muted' }, plural(found.entries, 'entry', 'entries'), ' · last use ', when(found.last_used_at, Date.now()), ' · id ', named(id)),
    );
  }, { id: 'usage', skeleton: bones(1) });
  const links = Object.entries(TABS).map(([name, text]) => h('a', { href: repositoryAt(id, name), 'data-tab': name }, text));
  let current = null;
  const turn = (name, params) => {
    if (current) forget(current.part);
    const known = TABS[name] ? name : 'entries';
    links.forEach((link) => (link.dataset.tab === known ? link.setAttribute('aria-current', 'page') : link.removeAttribute('aria-current')));
    current = {
      entries: () => entriesSection(id, params, role, refs, () => about.again()),
      match: () => matchSection(id, params, refs),
      activity: () => ({ part: activitySection(id) }),
      families: () => familiesSection(id),
    }[known]();
    place.replaceChildren(...(current.elements ?? [current.part.element]));
  };
  turn(tab, query);
  const view = {
    title: id,
    elements: [
      h('nav', { 'aria-label': 'Where you are' }, h('a', { href: '#/' }, '← All repositories')),
      title,
      about.element,
      h('nav', { class: 'tabs', 'aria-label': 'Parts of the repository' }, links),
      place,
    ],
    again: () => {
      refs.forget();
      return Promise.all([about.again(), (current.again ?? current.part.again)()]);
    },
    adopt: (to) => {
      if (to.id !== id || !place.isConnected) return false;
      turn(to.tab, to.query);
      if (!document.activeElement?.closest('.tabs')) current.part.heading.focus();
      return true;
    },
  };
  return view;
}

// Show that there is no such repository, in the place of everything else.
function missing(view, id, error) {
  forget();
  view.elements[1].parentElement.replaceChildren(
    h('nav', { 'aria-label': 'Where you are' }, h('a', { href: '#/' }, '← All repositories')),
    h('h1', { tabindex: '-1' }, named(id)),
    h('p', { class: 'notice bad', role: 'alert' }, error.message),
    h('p', {}, 'A repository is listed once one of its jobs has saved an entry.'),
  );
}
