// Suggest the refs of a repository, as people write them: those of the entries that were used last.

import * as api from './api.mjs';
import { h } from './dom.mjs';
import { shortRef } from './format.mjs';

const READ = 100; // entries; the server reads so many in the order of their last use by one query

export function refsOf(id) {
  let asked = null;
  const known = () => {
    asked ??= api.entries(id, { per_page: READ }).then(({ entries }) => [...new Set(entries.map((entry) => shortRef(entry.ref)))]).catch(() => {
      asked = null; // whatever fails is said where something depends on it
      return [];
    });
    return asked;
  };
  const forget = () => { asked = null; };
  // Create the suggestions of the input, which are asked for when somebody is about to write.
  const suggest = (input) => {
    const list = h('datalist', { id: `${input.id}-refs` });
    input.setAttribute('list', list.id);
    input.addEventListener('focus', async () => list.replaceChildren(...(await known()).map((ref) => h('option', { value: ref }))));
    return list;
  };
  return { known, suggest, forget };
}
