import assert from 'node:assert/strict';
import { test } from 'node:test';

import { MAX_SOURCE_BYTES } from '../../../dev/local/edge/runtime.mjs';
import * as edge from './edge.mjs';
import { complaints } from './syntax.mjs';

for (const name of ['viewer_request.js', 'viewer_response.js']) {
  test(`${name} uses only what the runtime's page lists`, () => {
    assert.deepEqual(complaints(edge.source(name)), []);
  });

  test(`${name} has at most 10 KB`, () => {
    assert.ok(Buffer.byteLength(edge.source(name)) <= MAX_SOURCE_BYTES);
  });
}

// One of each kind of what the page doesn't list.
const REFUSED = [
  'class A {}',
  'const { a } = {};',
  'function f(a = 1) {}',
  'for (const a of []) {}',
  'const a = {}; a?.b;',
  'const a = null ?? 1;',
  'function* f() {}',
  'const f = async () => 1;',
  'async function f() { [1].forEach((a) => a); }',
  'async function f() { if (await f()) return; }',
  'await 1;',
  'const a = 1; const b = { a };',
  'try { parseInt(1); } catch { parseInt(2); }',
  'const a = 1n;',
  'const a = /(?<=a)b/;',
  "import { createHmac } from 'crypto';",
  "import fs from 'fs';",
  "eval('1');",
  '[1].flat();',
  "[1]['flat']();",
];

test('what the page does not list is noticed', () => {
  for (const text of REFUSED) {
    assert.notDeepEqual(complaints(`${text}\nfunction handler(event) { return event.request; }`), [], text);
  }
});
