// A part of the page that comes when its data does, and that says so when it doesn't.

import { SignedOut } from './api.mjs';
import { h } from './dom.mjs';

let onSignedOut = () => {};

export function whenSignedOut(action) {
  onSignedOut = action;
}

// A landmark with a heading. `load` gives its content, anew at each `again()`; or a function that paints it, which is
// called only where no later one overtook it. `first` ends with the first.
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
    const shown = await load().catch((error) => fault(error, again));
    if (mine !== newest) return; // a later one overtook it
    const nodes = [typeof shown === 'function' ? shown() : shown].flat();
    const stands = nodes.length === content.childNodes.length && nodes.every((it, index) => it === content.childNodes[index]);
    if (!stands) content.replaceChildren(...nodes); // what stands keeps its focus
    element.setAttribute('aria-busy', 'false');
  };
  const first = again();
  return { element, again, heading, first };
}

function fault(error, again) {
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
