// Show how much of its budget a repository or the store uses, as a bar and in words.

import { h } from './dom.mjs';
import { bytes, exactBytes, percent } from './format.mjs';

const NEARLY = 0.9;

export const isNearlyFull = ({ bytes: used, budget_bytes: budget }) => Boolean(budget) && used >= NEARLY * budget;

export function usageBar(used, budget) {
  const words = budget ? `${bytes(used)} of ${bytes(budget)}` : bytes(used);
  const exact = budget ? `${exactBytes(used)} of ${exactBytes(budget)}` : exactBytes(used);
  const share = budget ? percent(used, budget) : 'no budget';
  const text = h('span', { title: exact }, words, ' ', h('span', { class: 'muted' }, `(${share})`));
  if (!budget) return h('div', { class: 'usage' }, text);
  const filling = h('div', { class: isNearlyFull({ bytes: used, budget_bytes: budget }) ? 'fill nearly' : 'fill' });
  filling.style.width = `${Math.min(100, (100 * used) / budget)}%`;
  return h('div', { class: 'usage' }, h('div', { class: 'bar', 'aria-hidden': 'true' }, filling), text);
}
