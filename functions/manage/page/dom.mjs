// Create elements. Text is inserted as text and no string becomes HTML, so nothing that is shown is read as markup.

import { ago, bytes, exactBytes, exactTime, pieces, shortRef } from './format.mjs';

const SVG = 'http://www.w3.org/2000/svg';

// h('a', { href: '#/', onclick: go }, 'text', element, null) creates a link; children that are false or null are left out.
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Show a name that a job chose, which may be anything: it can't change its neighbours' text direction, and invisible
// characters are spelt out.
export function named(text, className = '') {
  const parts = pieces(text).map((piece) => (piece.hidden ? h('span', { class: 'hidden-character' }, piece.text) : piece.text));
  return h('bdi', { class: `named ${className}`.trim() }, parts);
}

// Show a ref as people write it; the pointer over it has it in full.
export function refNamed(ref, className = '') {
  return h('span', { title: ref }, named(shortRef(ref), className));
}

// Show a timestamp of the API's, or `never` for null.
export function when(moment, now) {
  if (!moment) return h('span', { class: 'muted' }, 'never');
  const date = new Date(moment);
  return h('time', { datetime: moment, title: exactTime(date) }, ago(date.getTime(), now));
}

export function size(number) {
  return h('span', { title: exactBytes(number) }, bytes(number));
}

// Hold the place of what is being loaded.
export function bones(lines, className = '') {
  return h('div', { class: `bones ${className}`.trim(), 'aria-hidden': 'true' }, Array.from({ length: lines }, () => h('div', {})));
}

const status = () => document.getElementById('status');
let fading;

// Show a message for a while; screen readers read it out.
export function say(text) {
  clearTimeout(fading);
  status().textContent = text;
  fading = setTimeout(() => { status().textContent = ''; }, 8000);
}

export function later(milliseconds, action) {
  let waiting;
  return (...given) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => action(...given), milliseconds);
  };
}
