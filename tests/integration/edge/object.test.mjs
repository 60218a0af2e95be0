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

test('HEAD tells of the whole object, whatever range it names', () => {
  for (const sent of ['bytes=0-0', `bytes=${edge.SIZE}-`]) {
    assert.deepEqual(Object.keys(read({ range: sent }, 'HEAD').request.headers), ['host']);
  }
});

test('x-ms-range wins over range', () => {
  assert.equal(read({ range: 'bytes=1-2', 'x-ms-range': 'bytes=3-4' }).request.headers.range.value, 'bytes=3-4');
  assert.equal(read({ range: 'bytes=1-2', 'x-ms-range': 'nonsense' }).request.headers.range, undefined);
});

// test_twins.py holds every range and ETag against the core's own rules.
test('a plain range holds only while if-range names this very archive', () => {
  const range = (name) => read({ 'if-range': '"x"', [name]: 'bytes=1-2' }).request.headers.range?.value;
  assert.deepEqual([range('range'), range('x-ms-range')], [undefined, 'bytes=1-2'], 'the second is no Range');
  const { headers } = read({ 'if-range': '"x"', range: `bytes=${edge.SIZE}-` }).request;
  assert.deepEqual(Object.keys(headers), ['host']);
  edge.assertRefused(read({ 'if-match': '"x"' }), 412, 'ConditionNotMet');
  edge.assertRefused(read({ range: `bytes=${edge.SIZE}-` }), 416, 'InvalidRange');
});
