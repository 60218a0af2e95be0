// Gather hourly tallies into at most 30 bars. This file uses no DOM, so that Node can test it.

export const WEEK = 168; // hours

export const SPANS = [
  { name: '24 hours', hours: 24, step: 1 },
  { name: '7 days', hours: WEEK, step: 6 },
  { name: '30 days', hours: 720, step: 24 },
];

const HOUR = 3600_000;

const COUNTED = ['hits', 'misses', 'saves', 'bytes_restored', 'bytes_saved'];

// Return buckets of `step` hours in local time, the oldest first; the last one contains `now` and isn't over yet.
export function buckets(tallies, span, now) {
  const last = new Date(now);
  last.setMinutes(0, 0, 0);
  last.setHours(last.getHours() - (last.getHours() % span.step));
  const starts = [];
  for (let back = span.hours / span.step - 1; back >= -1; back -= 1) {
    starts.push(span.step === 1 ? last.getTime() - back * HOUR : byTheClock(last, -back * span.step));
  }
  const made = starts.slice(0, -1).map((from, index) => ({ from, to: starts[index + 1], ...sum([]) }));
  for (const tally of tallies) {
    const bucket = made.find(({ from, to }) => from <= tally.hour && tally.hour < to);
    if (bucket) COUNTED.forEach((name) => { bucket[name] += tally[name]; });
  }
  return made;
}

// Add hours of local time; a day may have 23 or 25 hours.
function byTheClock(moment, hours) {
  const moved = new Date(moment);
  return moved.setHours(moment.getHours() + hours);
}

export function sum(tallies) {
  return Object.fromEntries(COUNTED.map((name) => [name, tallies.reduce((total, tally) => total + tally[name], 0)]));
}

// Round up to the next 1, 2 or 5, 10, 20 … of a unit.
export function roundBytes(number) {
  let unit = 1;
  while (number > 500 * unit) unit *= 1024;
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500].map((step) => step * unit);
  return steps.find((step) => step >= number);
}

const hour = (at) => new Date(at).toLocaleTimeString('en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = (at) => new Date(at).toLocaleDateString('en', { weekday: 'short', day: 'numeric', month: 'short' });

export function describe(bucket, span) {
  if (span.step === 24) return day(bucket.from);
  return `${day(bucket.from)}, ${hour(bucket.from)}–${hour(bucket.to)}`;
}

// Return the label under the axis: the hour, or the day if one begins.
export function tick(bucket, span) {
  const from = new Date(bucket.from);
  if (span.step === 1) return hour(from);
  return from.getHours() ? '' : from.toLocaleDateString('en', { day: 'numeric', month: 'short' });
}
