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

const REFUSED = {
  'a class': 'class A {}',
  'a destructuring': 'const { a } = {};',
  'a destructured parameter': 'function f({ a }) {}',
  'a default parameter': 'function f(a = 1) {}',
  'spread arguments': 'Math.max(...[1]);',
  'a spread array': 'const a = [...[1]];',
  'a spread object': 'const a = { ...{} };',
  'for-of': 'for (const a of []) {}',
  'an optional chain': 'const a = {}; a?.b;',
  'a nullish default': 'const a = null ?? 1;',
  'a logical assignment': 'let a = 0; a ||= 1;',
  'a generator': 'function* f() {}',
  'an async arrow': 'const f = async () => 1;',
  'a nested async function': 'function f() { async function g() {} }',
  'a closure in an async function': 'async function f() { [1].forEach((a) => a); }',
  'await as an argument': 'async function f() { parseInt(await f()); }',
  'await in a condition': 'async function f() { if (await f()) return; }',
  'await at the top': 'await 1;',
  'a shorthand property': 'const a = 1; const b = { a };',
  'a computed property': "const a = { ['b']: 1 };",
  'a method definition': 'const a = { b() {} };',
  'a catch without its binding': 'try { parseInt(1); } catch { parseInt(2); }',
  'a bigint': 'const a = 1n;',
  'a lookbehind': 'const a = /(?<=a)b/;',
  'a sticky regular expression': 'const a = /a/y;',
  'an export': 'export default 1;',
  'a named import': "import { createHmac } from 'crypto';",
  'another module': "import fs from 'fs';",
  'a dynamic import': "import('crypto');",
  eval: "eval('1');",
  'the Function constructor': "new Function('');",
  'a timer': 'setTimeout(handler, 1);',
  process: 'const a = process.env;',
  fetch: "fetch('/');",
  Map: 'const a = new Map();',
  'a tagged template': 'String.raw`a`;',
  'a later method': '[1].flat();',
  'a method by a computed name': "[1]['flat']();",
};

for (const [what, text] of Object.entries(REFUSED)) {
  test(`${what} is noticed`, () => {
    assert.notDeepEqual(complaints(`${text}\nfunction handler(event) { return event.request; }`), []);
  });
}
