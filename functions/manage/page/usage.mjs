// Show how much of its budget a repository or the store uses, as a bar and in words.

import { h } from './dom.mjs';
import { bytes, exactBytes, percent } from './format.mjs';

const NEARLY = 0.9;

export function usageBar(used, budget, { long = false } = {}) {
  const words = budget ? `${bytes(used)} of ${bytes(budget)}` : bytes(used);
  const exact = budget ? `${exactBytes(used)} of ${exactBytes(budget)}` : exactBytes(used);
  const share = budget ? percent(used, budget) : 'no budget';
  const text = h('span', { title: exact }, words, ' ', h('span', { class: 'muted' }, long || !budget ? share : `(${share})`));
  if (!budget) return h('div', { class: 'usage' }, text);
  const filling = h('div', { class: used >= NEARLY * budget ? 'fill nearly' : 'fill' });
  filling.style.width = `${Math.min(100, (100 * used) / budget)}%`;
  return h('div', { class: 'usage' }, text, h('div', { class: 'bar', 'aria-hidden': 'true' }, filling));
}
