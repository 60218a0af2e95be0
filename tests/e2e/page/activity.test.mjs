// Hourly tallies in bars: nothing is lost, nothing counted twice, also where a day has 23 or 25 hours.

import assert from 'node:assert/strict';
import { test } from 'node:test';

process.env.TZ = 'Europe/Berlin';
const { SPANS, buckets, roundBytes, sum, tick } = await import('../../../functions/manage/page/activity.mjs');

const HOUR = 3600_000;
const tally = (hour, hits = 1) => ({ hour, hits, misses: 2, saves: 3, bytes_restored: 4, bytes_saved: 5 });
const [DAY, WEEK, MONTH] = SPANS;

for (const span of SPANS) {
  for (const [name, now] of Object.entries({
    'an ordinary day': Date.UTC(2026, 6, 15, 13, 40),
    'the day after clocks went forward': Date.UTC(2026, 2, 30, 9, 5),
    'the day on which clocks went forward': Date.UTC(2026, 2, 29, 20, 5),
    'the day on which clocks went back': Date.UTC(2026, 9, 25, 3, 30),
    'the day after clocks went back': Date.UTC(2026, 9, 26, 0, 0),
  })) {
    test(`${span.name} on ${name}: at most 30 bars without gaps, the last one with now`, () => {
      const made = buckets([], span, now);
      assert.equal(made.length, span.hours / span.step);
      assert.ok(made.length <= 30);
      made.slice(1).forEach((it, index) => assert.equal(it.from, made[index].to));
      for (const it of made) assert.ok(it.to > it.from);
      assert.ok(made.at(-1).from <= now && now < made.at(-1).to);
    });

    test(`${span.name} on ${name}: each hour is in one bar`, () => {
      const [first] = buckets([], span, now);
      const hours = [];
      for (let at = Math.ceil(first.from / HOUR) * HOUR; at <= now; at += HOUR) hours.push(tally(at));
      assert.deepEqual(sum(buckets(hours, span, now)), sum(hours));
    });
  }
}

test('what is older than the first bar, or not yet, is in none', () => {
  const now = Date.UTC(2026, 6, 15, 13, 40);
  const [first] = buckets([], WEEK, now);
  const made = buckets([tally(first.from - HOUR), tally(first.from, 7), tally(now + 24 * HOUR)], WEEK, now);
  assert.equal(sum(made).hits, 7);
  assert.equal(made[0].hits, 7);
});

test('a day is midnight to midnight by the clock on the wall', () => {
  const made = buckets([], MONTH, Date.UTC(2026, 3, 2, 12));
  for (const it of made) assert.equal(new Date(it.from).getHours(), 0);
  assert.ok(made.some((it) => it.to - it.from === 23 * HOUR)); // 29 March
});

test('the axis names hours within a day, and each day once over a week', () => {
  const now = Date.UTC(2026, 6, 15, 13, 40);
  assert.equal(tick(buckets([], DAY, now).at(-1), DAY), '15:00');
  const week = buckets([], WEEK, now);
  const words = week.map((it) => tick(it, WEEK)).filter(Boolean);
  assert.equal(new Set(words).size, words.length);
  assert.equal(words.at(-1), 'Jul 15');
});

test('the scale ends at a round number that holds the highest bar', () => {
  const MIB = 1024 ** 2;
  for (const [most, top] of [[1, 1], [3, 5], [500, 500], [501, 1024], [MIB, MIB], [MIB + 1, 2 * MIB], [500 * MIB, 500 * MIB], [501 * MIB, 1024 * MIB]]) {
    assert.equal(roundBytes(most), top);
  }
});
