// Sections of the page, which load their data by themselves and show an error if that fails.

import { SignedOut } from './api.mjs';
import { h } from './dom.mjs';

let onSignedOut = () => {};

export function whenSignedOut(action) {
  onSignedOut = action;
}

// Create a landmark with a heading. `load` returns its content, at first and at each `again()`; or a function that
// paints it, which is called only if no later load has started. `first` resolves when the first load is shown.
export function section(title, load, { beside = null, id } = {}) {
  const heading = h('h2', { id: `${id}-title`, tabindex: '-1' }, title);
  const content = h('div', { class: 'content' }, h('p', { class: 'muted loading' }, 'Loading …'));
  const element = h(
    'section',
    { id, 'aria-labelledby': `${id}-title`, 'aria-busy': 'true' },
    h('div', { class: 'row between' }, heading, beside),
    content,
  );
  let newest = 0;
  const again = async () => {
    newest += 1;
    const mine = newest;
    element.setAttribute('aria-busy', 'true');
    const shown = await load().catch((error) => errorNotice(error, again));
    if (mine !== newest) return; // a later load has started
    const nodes = [typeof shown === 'function' ? shown() : shown].flat();
    const isUnchanged = nodes.length === content.childNodes.length && nodes.every((node, index) => node === content.childNodes[index]);
    if (!isUnchanged) content.replaceChildren(...nodes); // unchanged nodes keep the focus
    element.setAttribute('aria-busy', 'false');
  };
  const first = again();
  return { element, again, heading, first };
}

function errorNotice(error, again) {
  if (error instanceof SignedOut) onSignedOut('Your session has ended. Sign in again to go on.');
  else if (error.name !== 'Refused') console.error(error); // eslint-disable-line no-console
  return h(
    'p',
    { class: 'notice bad', role: 'alert' },
    error.message,
    ' ',
    h('button', { type: 'button', onclick: again }, 'Try again'),
  );
}
