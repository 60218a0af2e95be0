// Elements, made so that nothing shown is ever read as markup: text goes in as text, and no string becomes HTML.

import { ago, bytes, exactBytes, pieces } from './format.mjs';

const SVG = 'http://www.w3.org/2000/svg';

// h('a', { href: '#/', onclick: go }, 'text', element, null): false and null are left out.
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
  element.append(...children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

// What a job named, which may be anything: kept from turning its neighbours' direction, and what can't be seen spelt out.
export function named(text, className = '') {
  const parts = pieces(text).map((it) => (it.hidden ? h('span', { class: 'hidden-character' }, it.text) : it.text));
  return h('bdi', { class: `named ${className}`.trim() }, parts);
}

// A moment as the API writes it, or null.
export function when(moment, now) {
  if (!moment) return h('span', { class: 'muted' }, 'never');
  const date = new Date(moment);
  return h('time', { datetime: moment, title: date.toLocaleString() }, ago(date.getTime(), now));
}

export function size(number) {
  return h('span', { title: exactBytes(number) }, bytes(number));
}

const status = () => document.getElementById('status');
let fading;

// Said aloud by screen readers, and shown for a while.
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
