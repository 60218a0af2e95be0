import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as edge from './edge.mjs';

const run = edge.viewerRequest();

function read(headers, method = 'GET', url = edge.objectUrl()) {
  return run.run(edge.event(method, url, headers), edge.NOW);
}

test('a signed object is read from the bucket', () => {
  for (const method of ['GET', 'HEAD']) {
    for (const place of ['merged/3f2a_Run-Token', 'parts/blob/1790000000000-r', 'parts/blocks/Q-_/1-r']) {
      const subject = `${edge.SIZE}/${edge.ARCHIVE}/${place}`;
      const outcome = read({}, method, `/blobs/object/${subject}?${edge.query('object', subject)}`);
      edge.assertToBucket(outcome, new RegExp(`^/archives/${edge.ARCHIVE}/${place}$`));
    }
  }
});

test('an object is only read', () => {
  for (const method of ['PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS']) {
    edge.assertRefused(read({}, method), 405, 'UnsupportedHttpVerb');
  }
});

test("an object's URL expires, and its parameters are given once", () => {
  edge.assertRefused(read({}, 'GET', edge.objectUrl({ expires: edge.NOW / 1000 })), 403, 'AuthenticationFailed');
  edge.assertRefused(read({}, 'GET', `${edge.objectUrl()}&se=9`), 400, 'InvalidQueryParameterValue');
});

const LAST = edge.SIZE - 1;
const RANGES = [
  ['bytes=0-0', 'bytes=0-0'],
  ['bytes=5-', `bytes=5-${LAST}`],
  ['bytes=-5', `bytes=${edge.SIZE - 5}-${LAST}`],
  [`bytes=-${edge.SIZE + 1}`, `bytes=0-${LAST}`],
  ['  BYTES = 007 - 0010 ', 'bytes=7-10'],
  [`bytes=${LAST}-${LAST}`, `bytes=${LAST}-${LAST}`],
  [`bytes=${LAST}-${edge.SIZE}`, `bytes=${LAST}-${LAST}`],
  [`bytes=0-${'9'.repeat(400)}`, `bytes=0-${LAST}`],
  ['bytes=2-1', undefined],
  ['bytes=-', undefined],
  ['bytes=', undefined],
  ['', undefined],
  ['bytes=0-1,3-4', undefined],
  ['bytes=0-1, ', undefined],
  ['bytes=+1-2', undefined],
  ['bytes=1.0-2', undefined],
  ['bytes=0x1-2', undefined],
  ['bytes=٣-', undefined],
  ['bits=0-1', undefined],
  ['0-1', undefined],
];

test('a single byte range reaches S3 in one form, anything else as no range', () => {
  for (const [sent, expected] of RANGES) {
    for (const name of ['range', 'x-ms-range']) {
      const { headers } = read({ [name]: sent }).request;
      assert.equal(headers.range?.value, expected, `${name}: ${sent}`);
      assert.deepEqual(Object.keys(headers).sort(), expected === undefined ? ['host'] : ['host', 'range']);
    }
  }
});

test('a range behind the end is refused with the size, which S3 would leave out', () => {
  for (const sent of [`bytes=${edge.SIZE}-`, `bytes=${edge.SIZE}-${edge.SIZE + 9}`, 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
    const outcome = read({ 'x-ms-range': sent });
    edge.assertRefused(outcome, 416, 'InvalidRange');
    assert.equal(outcome.response.headers['content-range'].value, `bytes */${edge.SIZE}`);
  }
});

test('HEAD tells of the whole object, whatever range it names', () => {
  for (const sent of ['bytes=0-0', `bytes=${edge.SIZE}-`]) {
    assert.deepEqual(Object.keys(read({ range: sent }, 'HEAD').request.headers), ['host']);
  }
});

test('x-ms-range wins over range', () => {
  assert.equal(read({ range: 'bytes=1-2', 'x-ms-range': 'bytes=3-4' }).request.headers.range.value, 'bytes=3-4');
  assert.equal(read({ range: 'bytes=1-2', 'x-ms-range': 'nonsense' }).request.headers.range, undefined);
});

test("if-match holds for the archive's ETag and for no other", () => {
  const ours = `"${edge.ARCHIVE}"`;
  for (const tag of ['*', ours, ` ${ours} `, `"x", ${ours}`, `${ours},"x"`]) {
    assert.deepEqual(Object.keys(read({ 'if-match': tag }).request.headers), ['host'], tag);
  }
  for (const tag of ['"x"', edge.ARCHIVE, `W/${ours}`, `"${edge.OTHER_ARCHIVE}"`, '']) {
    edge.assertRefused(read({ 'if-match': tag }), 412, 'ConditionNotMet');
  }
});

test('a plain range holds only while if-range names this very archive', () => {
  const ours = `"${edge.ARCHIVE}"`;
  const rangeFor = (tag, name = 'range') => read({ 'if-range': tag, [name]: 'bytes=1-2' }).request.headers.range?.value;
  for (const tag of [ours, ` ${ours} `]) assert.equal(rangeFor(tag), 'bytes=1-2', tag);
  const others = ['"x"', `W/${ours}`, `${ours}, "x"`, 'Wed, 21 Oct 2015 07:28:00 GMT', '*', ''];
  for (const tag of others) assert.equal(rangeFor(tag), undefined, tag);
  assert.equal(rangeFor('"x"', 'x-ms-range'), 'bytes=1-2', 'which is no Range');
  assert.deepEqual(Object.keys(read({ 'if-range': '"x"', range: `bytes=${edge.SIZE}-` }).request.headers), ['host']);
});
