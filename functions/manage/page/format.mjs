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
const RELATIVE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: 'always', style: 'long' });

export function ago(millis, now) {
  const seconds = (millis - now) / 1000;
  const [unit, length] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? [];
  return unit ? RELATIVE.format(Math.trunc(seconds / length), unit) : 'just now';
}

// Return date and time with the browser's zone.
export function exactTime(date) {
  return date.toLocaleString(LANGUAGE, { dateStyle: 'medium', timeStyle: 'long', hourCycle: 'h23' });
}

// Return the time of day, by the browser's clock.
export function clock(millis) {
  return new Date(millis).toLocaleTimeString(LANGUAGE, { hourCycle: 'h23', hour: '2-digit', minute: '2-digit', second: '2-digit' });
}

// Read a ref as people write it, as the server does (domain/refs.py): `main`, `#118`, or in full.
export function fullRef(text) {
  const ref = text.trim();
  if (!ref || /^(refs|gh-readonly-queue)\//.test(ref)) return ref;
  const [, pullRequest] = /^#([0-9]+)$/.exec(ref) ?? [];
  if (pullRequest) return `refs/pull/${pullRequest}/merge`;
  return /^(heads|tags|pull)\//.test(ref) ? `refs/${ref}` : `refs/heads/${ref}`;
}

// Return the shortest text that means the ref.
export function shortRef(ref) {
  const [, pullRequest] = /^refs\/pull\/([0-9]+)\/merge$/.exec(ref) ?? [];
  const short = pullRequest ? `#${pullRequest}` : ref.replace(/^refs\/heads\//, '').replace(/^refs\/(?=tags\/|pull\/)/, '');
  return fullRef(short) === ref ? short : ref;
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
