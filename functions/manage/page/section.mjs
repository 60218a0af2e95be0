// Sections of the page, which load their data by themselves. What couldn't be loaded is said in one place for all of
// them, and the header says how old the oldest data are.

import { SignedOut } from './api.mjs';
import { bones, h } from './dom.mjs';
import { clock, exactTime } from './format.mjs';

const shown = new Set(); // the sections of the view
let onSignedOut = () => {};

export function whenSignedOut(action) {
  onSignedOut = action;
}

// Forget the sections of a view, or the one that is given, before others take their place.
export function forget(one = null) {
  if (one) shown.delete(one);
  else shown.clear();
  tell();
}

export const anyFailed = () => [...shown].some((part) => part.error);

// Create a landmark with a heading. `load` returns its content, at first and at each `again()`; or a function that
// paints it, which is called only if no later load has started. A load that fails leaves what is shown. `repaint()` is
// for loads that ask for nothing new. `first` resolves when the first load is shown.
export function section(title, load, { beside = null, id, skeleton = bones(3) } = {}) {
  const heading = h('h2', { id: `${id}-title`, tabindex: '-1' }, title);
  const content = h('div', { class: 'content' }, h('p', { class: 'unseen' }, 'Loading …'), skeleton);
  const element = h(
    'section',
    { id, 'aria-labelledby': `${id}-title`, 'aria-busy': 'true' },
    h('div', { class: 'row between' }, heading, beside),
    content,
  );
  const part = { element, heading, error: null, loadedAt: null };
  let newest = 0;
  const run = async (isNew) => {
    newest += 1;
    const mine = newest;
    const begun = Date.now();
    element.setAttribute('aria-busy', 'true');
    let error = null;
    try {
      const loaded = await load();
      if (mine !== newest) return; // a later load has started
      const nodes = [typeof loaded === 'function' ? loaded() : loaded].flat();
      const isUnchanged = nodes.length === content.childNodes.length && nodes.every((node, index) => node === content.childNodes[index]);
      if (!isUnchanged) content.replaceChildren(...nodes); // unchanged nodes keep the focus
      if (isNew || part.loadedAt === null) part.loadedAt = begun;
    } catch (failure) {
      error = failure;
    }
    if (mine !== newest) return;
    part.error = error;
    if (error && part.loadedAt === null) content.replaceChildren(h('p', { class: 'muted' }, 'Not loaded.'));
    element.setAttribute('aria-busy', 'false');
    if (!shown.has(part)) return; // another view is shown
    say(error);
  };
  part.fail = (error) => { // of what was asked for after the load
    part.error = error;
    if (shown.has(part)) say(error);
  };
  part.again = () => run(true);
  part.repaint = () => run(false);
  shown.add(part);
  part.first = run(true);
  return part;
}

function say(error) {
  if (error instanceof SignedOut) onSignedOut('Your session has ended. Sign in again to go on.');
  else tell();
}

// Say what failed, each cause once, and the time of the oldest data.
function tell() {
  const parts = [...shown];
  const failed = parts.filter((part) => part.error);
  const causes = [...new Set(failed.map((part) => part.error.message))];
  const place = document.getElementById('problem');
  const said = causes.join(' ');
  if (place.dataset.said !== said) {
    place.dataset.said = said;
    const retry = () => [...shown].filter((part) => part.error).forEach((part) => part.again());
    place.replaceChildren(...(said ? [h('p', { class: 'notice bad' }, h('span', {}, said), ' ', h('button', { type: 'button', onclick: retry }, 'Try again'))] : []));
  }
  const times = parts.map((part) => part.loadedAt).filter(Boolean);
  const fresh = document.getElementById('fresh');
  fresh.textContent = times.length ? `As of ${clock(Math.min(...times))}${said ? ', not refreshed' : ''}` : '';
  fresh.title = times.length ? exactTime(new Date(Math.min(...times))) : '';
  fresh.className = said ? 'stale' : 'muted';
}
