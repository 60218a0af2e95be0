// Numbers, times and names, at the boundaries of how they are read.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ago, bytes, count, dollars, fullRef, percent, pieces, plural, shortRef } from '../../../functions/manage/page/format.mjs';

const KIB = 1024;
const MIB = KIB ** 2;
const GIB = KIB ** 3;

test('bytes have at most three digits, and never 1000 or more of a unit', () => {
  const shown = [
    [0, '0 B'],
    [1, '1 B'],
    [999, '999 B'],
    [1000, '0.977 KiB'],
    [KIB, '1 KiB'],
    [KIB + 512, '1.5 KiB'],
    [999 * KIB, '999 KiB'],
    [999.4 * KIB, '999 KiB'],
    [999.6 * KIB, '0.976 MiB'],
    [705e6, '672 MiB'],
    [10 * GIB, '10 GiB'],
    [10 * GIB - 1, '10 GiB'],
    [GIB * KIB, '1 TiB'],
    [2 ** 53, '8 PiB'],
    [5000 * KIB ** 5, '5000 PiB'],
  ];
  for (const [number, text] of shown) assert.equal(bytes(number), text);
  assert.match(bytes(MIB), /^1 MiB$/);
});

test('0% is none and 100% is all', () => {
  assert.equal(percent(0, 1000), '0%');
  assert.equal(percent(1, 1000), '<1%');
  assert.equal(percent(10, 1000), '1%');
  assert.equal(percent(990, 1000), '99%');
  assert.equal(percent(999, 1000), '>99%');
  assert.equal(percent(1000, 1000), '100%');
  assert.equal(percent(1100, 1000), '110%');
  assert.equal(percent(0, 0), '–');
});

test('a little money is not nothing', () => {
  assert.equal(dollars(0), '$0.00');
  assert.equal(dollars(0.0001), '<$0.01');
  assert.equal(dollars(0.01), '$0.01');
  assert.equal(dollars(1234.5), '$1,234.50');
});

test('times are told by their largest unit, and the future is not the past', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  const told = [
    [0, 'just now'],
    [59, 'just now'],
    [60, '1 minute ago'],
    [3599, '59 minutes ago'],
    [3600, '1 hour ago'],
    [86399, '23 hours ago'],
    [86400, '1 day ago'],
    [30 * 86400, '1 month ago'],
    [365 * 86400, '1 year ago'],
    [-120, 'in 2 minutes'],
  ];
  for (const [seconds, text] of told) assert.equal(ago(now - seconds * 1000, now), text);
});

test('counts are grouped, and one is one', () => {
  assert.equal(count(1234567), '1,234,567');
  assert.equal(plural(1, 'entry', 'entries'), '1 entry');
  assert.equal(plural(0, 'entry', 'entries'), '0 entries');
  assert.equal(plural(2, 'lookup'), '2 lookups');
});

test('what turns or hides text is spelt out, and the rest stays as it is', () => {
  const shown = (text) => pieces(text).map((it) => (it.hidden ? `[${it.text}]` : it.text)).join('');
  assert.equal(shown('exe\u202egnp'), 'exe[U+202E]gnp');
  assert.equal(shown('a\u200bb\u0007\n'), 'a[U+200B]b[U+0007][U+000A]');
  assert.equal(shown('\ud800x'), '[U+D800]x');
  assert.equal(shown('\u2066\u2069\ufeff'), '[U+2066][U+2069][U+FEFF]');
  assert.equal(shown('مفتاح 👩‍💻 <b>&amp;'), 'مفتاح 👩‍💻 <b>&amp;');
  assert.deepEqual(pieces(''), []);
});

const REFS = JSON.parse(readFileSync(new URL('../../unit/domain/refs.json', import.meta.url)));

test('refs are read as the server reads them', () => {
  for (const [text, ref] of Object.entries(REFS)) assert.equal(fullRef(` ${text} `), ref);
});

test('refs are shown as short as they can be read again', () => {
  for (const ref of Object.values(REFS)) assert.equal(fullRef(shortRef(ref)), ref);
  const shown = [
    ['refs/heads/main', 'main'],
    ['refs/pull/118/merge', '#118'],
    ['refs/tags/v1', 'tags/v1'],
    ['refs/heads/#118', 'refs/heads/#118'],
    ['refs/heads/tags/v1', 'refs/heads/tags/v1'],
    ['refs/heads/refs/x', 'refs/heads/refs/x'],
    ['refs/anything', 'refs/anything'],
  ];
  for (const [ref, text] of shown) assert.equal(shortRef(ref), text);
});
