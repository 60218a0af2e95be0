// Format numbers, times and names for people. This file uses no DOM, so that Node can test it.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const LANGUAGE = 'en';

// Return three digits of it, in binary units as budgets are.
export function bytes(number) {
  let value = number;
  let unit = 0;
  while (unit < UNITS.length - 1 && Number(value.toPrecision(3)) >= 1000) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : Number(value.toPrecision(3))} ${UNITS[unit]}`;
}

export function exactBytes(number) {
  return `${count(number)} bytes`;
}

export function count(number) {
  return number.toLocaleString(LANGUAGE);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

// Return "0%" only for none, and "100%" only for all.
export function percent(part, whole) {
  if (!whole) return '–';
  const share = (100 * part) / whole;
  if (share > 0 && share < 1) return '<1%';
  if (share > 99 && share < 100) return '>99%';
  return `${Math.round(share)}%`;
}

export function dollars(usd) {
  if (usd > 0 && usd < 0.01) return '<$0.01';
  return usd.toLocaleString(LANGUAGE, { style: 'currency', currency: 'USD' });
}

const STEPS = [
  ['year', 365 * 86400],
  ['month', 30 * 86400],
  ['day', 86400],
  ['hour', 3600],
  ['minute', 60],
];
const RELATIVE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: 'always' });

export function ago(millis, now) {
  const seconds = (millis - now) / 1000;
  const [unit, length] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? [];
  return unit ? RELATIVE.format(Math.trunc(seconds / length), unit) : 'just now';
}

// Control characters, halves of surrogate pairs, and characters that turn or hide text; not joiners, which scripts and
// emoji need.
const UNSEEN = /[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

// Split a name into [{ text, hidden }]; invisible characters are replaced by their number.
export function pieces(text) {
  const found = [];
  let plain = '';
  for (const character of text) {
    if (!UNSEEN.test(character)) {
      plain += character;
      continue;
    }
    if (plain) found.push({ text: plain, hidden: false });
    plain = '';
    found.push({ text: `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`, hidden: true });
  }
  if (plain) found.push({ text: plain, hidden: false });
  return found;
}
