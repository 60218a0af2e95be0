// The emulation refuses what it claims to refuse: a small function per refusal.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { EdgeFunction, MAX_SOURCE_BYTES } from '../../../dev/local/edge/runtime.mjs';
import * as edge from './edge.mjs';

const RUNTIME = fileURLToPath(new URL('../../../dev/local/edge/runtime.mjs', import.meta.url));
const PLAIN = 'function handler(event) { return event.request; }';
const folder = mkdtempSync(join(tmpdir(), 'edge-'));
after(() => rmSync(folder, { recursive: true }));

function file(text) {
  const path = join(folder, `${Math.random()}.js`);
  writeFileSync(path, text);
  return path;
}

function asProcess(args, input = '') {
  return spawnSync(process.execPath, [RUNTIME, ...args], { input, encoding: 'utf8', timeout: 20_000 });
}

function lines(output) {
  return output.trim().split('\n').map((line) => JSON.parse(line));
}

function atRequest(body, { sent = edge.event('GET', '/a?b=c', { via: '1.1 x' }), head = '' } = {}) {
  const made = new EdgeFunction('viewer-request', `${head}\nasync function handler(event) { ${body} }`);
  made.setStore({ key: 'value', json: '{"a": 1}' });
  return made.run(sent, edge.NOW);
}

function atResponse(body) {
  const made = new EdgeFunction('viewer-response', `function handler(event) { ${body} }`);
  return made.run(edge.responseEvent('GET', '/a', 200, { via: '1.1 x', 'x-a': 'b' }), edge.NOW);
}

const UNLOADABLE = {
  'more than 10 KB': `${PLAIN}//${'x'.repeat(MAX_SOURCE_BYTES - PLAIN.length - 1)}`,
  'another module': `import fs from 'fs';\n${PLAIN}`,
  'a named import': `import { createHmac } from 'crypto';\n${PLAIN}`,
  'an export': `export ${PLAIN}`,
  'no handler': 'function handle(event) { return event.request; }',
  'a handler that is none': 'const handler = 1;',
  'what strict mode refuses': `with (Math) {}\n${PLAIN}`,
  'no syntax': 'function handler(event) {',
};

test("a source that CloudFront wouldn't take isn't loaded", () => {
  for (const [what, text] of Object.entries(UNLOADABLE)) {
    assert.throws(() => new EdgeFunction('viewer-request', text), undefined, what);
  }
  new EdgeFunction('viewer-request', `${PLAIN}//${'x'.repeat(10_240 - PLAIN.length - 2)}`);
});

test('a process that loads no function ends with one line', () => {
  const none = join(folder, 'none.js');
  for (const [argument, words] of [
    [`viewer-request=${file(UNLOADABLE['no syntax'])}`, /^the edge functions can't be loaded: /],
    [`viewer-request=${none}`, /none\.js/],
    [`origin-request=${file(PLAIN)}`, /origin-request is no event/],
  ]) {
    const { status, stdout, stderr } = asProcess([argument]);
    assert.deepEqual([status, stdout, stderr.trim().split('\n').length], [1, '', 1], stderr);
    assert.match(stderr, words);
  }
});

// Each ends as CloudFront's 503: the function failed.
const FAILING = {
  'an exception': 'throw new Error("x");',
  eval: 'eval("1");',
  'the Function constructor': 'new Function("return 1")();',
  'an endless loop': 'for (;;) {}',
  'a promise that nothing settles': 'await new Promise(() => {});',
  'a dynamic import': 'await import("fs");',
  'a timer': 'setTimeout(() => {}, 1);',
  require: 'require("fs");',
  process: 'process.env;',
  'a network call': 'fetch("http://127.0.0.1/");',
  'an undeclared variable': 'leak = 1;',
  'a missing key': 'await cf.kvs().get("none");',
  "a key that every object has": 'await cf.kvs().get("constructor");',
  'an unknown format': 'await cf.kvs().get("key", { format: "xml" });',
  'an unknown origin': 'cf.selectRequestOriginById("elsewhere");',
  'an unknown encoding': 'crypto.createHash("sha256").digest("latin1");',
  'a method of a later ES': '[1, [2]].flat();',
};

test('what CloudFront lacks fails the function', () => {
  const head = "import cf from 'cloudfront';\nimport crypto from 'crypto';";
  for (const [what, body] of Object.entries(FAILING)) {
    assert.equal(atRequest(`${body} return event.request;`, { head }).error?.status, 503, what);
  }
});

// Each ends as CloudFront's 502: the result isn't valid.
const INVALID_REQUESTS = {
  'no result': '',
  'null': 'return null;',
  'the event': 'return event;',
  'another method': 'r.method = "PUT"; return r;',
  'a uri without a slash': 'r.uri = "a"; return r;',
  'a uri of 8,192 characters': 'r.uri = "/" + "x".repeat(8187); return r;',
  'a space in the query': 'r.querystring.b.value = "c d"; return r;',
  'a query value of another type': 'r.querystring.b = "c"; return r;',
  'a header name in upper case': 'r.headers["X-A"] = { value: "b" }; return r;',
  'a header name that is no token': 'r.headers["x a"] = { value: "b" }; return r;',
  'a header value of another type': 'r.headers["x-a"] = { value: 1 }; return r;',
  'a header with a line break': 'r.headers["x-a"] = { value: "b\\r\\nc: d" }; return r;',
  'a header with one of its values of another type':
    'r.headers["x-a"] = { value: "", multiValue: [{ value: 1 }] }; return r;',
  'no headers': 'r.headers = undefined; return r;',
};
for (const name of ['host', 'via']) {
  INVALID_REQUESTS[`a changed ${name}`] = `r.headers["${name}"].value = "x"; return r;`;
  INVALID_REQUESTS[`a deleted ${name}`] = `delete r.headers["${name}"]; return r;`;
}
for (const name of ['cdn-loop', 'content-length', 'transfer-encoding']) {
  INVALID_REQUESTS[`an added ${name}`] = `r.headers["${name}"] = { value: "1" }; return r;`;
}
// One of each family of CloudFront's list.
const DISALLOWED = ['connection', 'expect', 'proxy-authorization', 'upgrade', 'x-accel-redirect', 'x-amz-cf-id'];
DISALLOWED.push('x-amzn-cf-id', 'x-amzn-errortype', 'x-cache', 'x-edge-location', 'x-forwarded-proto', 'x-real-ip');
for (const name of DISALLOWED) {
  INVALID_REQUESTS[`an added ${name}`] = `r.headers["${name}"] = { value: "x" }; return r;`;
}

test('an invalid request is refused', () => {
  for (const [what, body] of Object.entries(INVALID_REQUESTS)) {
    assert.equal(atRequest(`const r = event.request; ${body}`).error?.status, 502, what);
  }
  for (const body of ['r.uri = "/" + "x".repeat(8186);', 'r.uri = "/" + "x".repeat(8190); r.querystring = {};']) {
    assert.equal(atRequest(`const r = event.request; ${body} return r;`).error, undefined);
  }
});

const INVALID_RESPONSES = {
  'a status that is a string': 'statusCode: "200"',
  'a status below 100': 'statusCode: 99',
  'a status above 599': 'statusCode: 600',
  'a disallowed header': 'statusCode: 200, headers: { connection: { value: "close" } }',
  'a body of another type': 'statusCode: 200, body: 1',
  'a body that is no base64': 'statusCode: 200, body: { encoding: "base64", data: "?" }',
};

test('an invalid response is refused', () => {
  for (const [what, fields] of Object.entries(INVALID_RESPONSES)) {
    assert.equal(atRequest(`return { ${fields} };`).error?.status, 502, what);
  }
  for (const fields of ['100', '599', '200, body: "x"', '200, body: { encoding: "base64", data: "eA==" }']) {
    assert.equal(atRequest(`return { statusCode: ${fields} };`).error, undefined, fields);
  }
});

test('at viewer-response, read-only headers, a request and an origin are refused', () => {
  for (const name of ['via', 'warning']) {
    const body = `event.response.headers["${name}"] = { value: "x" }; return event.response;`;
    assert.equal(atResponse(body).error?.status, 502);
  }
  assert.equal(atResponse('delete event.response.headers.via; return event.response;').error?.status, 502);
  assert.equal(atResponse('return event.request;').error?.status, 502);
  assert.equal(atResponse('delete event.response.headers["x-a"]; return event.response;').error, undefined);
  const selecting = `import cf from 'cloudfront';
    function handler(event) { cf.selectRequestOriginById('api'); return event.response; }`;
  const made = new EdgeFunction('viewer-response', selecting);
  assert.equal(made.run(edge.responseEvent('GET', '/a', 200)).error?.status, 503);
});

test('no viewer-response function runs for 400 and above', () => {
  const made = edge.viewerResponse();
  assert.equal(made.run(edge.responseEvent('PUT', '/a', 399)).error, undefined);
  for (const status of [400, 503]) {
    assert.equal(made.run(edge.responseEvent('PUT', '/a', status)).error?.status, 502);
  }
});

test('disallowed headers are hidden from the function', () => {
  const headers = Object.fromEntries([...DISALLOWED, 'x-kept'].map((name) => [name, 'x']));
  const { request } = atRequest('return event.request;', { sent: edge.event('GET', '/', headers) });
  assert.deepEqual(Object.keys(request.headers), ['host', 'x-kept']);
});

test('the documented globals are there, and nothing else', () => {
  const body = 'return { statusCode: 200, body: Object.getOwnPropertyNames(globalThis).sort().join(" ") };';
  const documented = `Array ArrayBuffer Boolean Buffer DataView Date Error EvalError Float32Array Float64Array Function
    Infinity Int16Array Int32Array Int8Array InternalError JSON Math NaN Number Object Promise RangeError
    ReferenceError RegExp String Symbol SyntaxError TextDecoder TextEncoder TypeError URIError Uint16Array Uint32Array
    Uint8Array Uint8ClampedArray atob btoa console decodeURI decodeURIComponent encodeURI encodeURIComponent eval
    globalThis isFinite isNaN parseFloat parseInt undefined`;
  assert.deepEqual(atRequest(body).response.body.split(' '), documented.split(/\s+/));
});

test('time stands still within a call', () => {
  const body = `const first = Date.now(); for (let i = 0; i < 1e6; i += 1);
    const times = [first, Date.now(), new Date().getTime(), Date.parse(Date()), new Date(7).getTime()];
    return { statusCode: 200, body: times.join(' ') };`;
  assert.equal(atRequest(body).response.body, [edge.NOW, edge.NOW, edge.NOW, edge.NOW, 7].join(' '));
});

test('nothing of a call is left for the next, and the event it got was a copy', () => {
  const text = `let calls = 0;
    function handler(event) {
      calls += 1;
      event.request.headers['x-calls'] = { value: String(calls) };
      return event.request;
    }`;
  const made = new EdgeFunction('viewer-request', text);
  const sent = edge.event('GET', '/');
  for (let call = 0; call < 3; call += 1) assert.equal(made.run(sent).request.headers['x-calls'].value, '1');
  assert.deepEqual(Object.keys(sent.request.headers), ['host']);
  const selecting = `import cf from 'cloudfront';
    function handler(event) {
      if (event.request.uri === '/api') cf.selectRequestOriginById('api');
      return event.request;
    }`;
  const one = new EdgeFunction('viewer-request', selecting);
  assert.deepEqual(['/api', '/a'].map((uri) => one.run(edge.event('GET', uri)).origin), ['api', undefined]);
});

test('the KeyValueStore is read as documented', () => {
  const head = "import cf from 'cloudfront';\nconst store = cf.kvs();";
  const body = `const text = await store.get('key'); const json = await store.get('json', { format: 'json' });
    const bytes = await store.get('key', { format: 'bytes' }); const meta = await store.meta();
    const there = await store.exists('key'); const absent = await store.exists('toString');
    return { statusCode: 200, body: [text, json.a, bytes.toString('hex'), meta.keyCount, there, absent].join(' ') };`;
  assert.equal(atRequest(body, { head }).response.body, 'value 1 76616c7565 2 true false');
});

test('digests come as documented', () => {
  const head = "import crypto from 'crypto';\nconst hash = () => crypto.createHash('sha256').update('a');";
  const body = `const all = ['hex', 'base64', 'base64url'].map((encoding) => hash().digest(encoding));
    return { statusCode: 200, body: all.concat(hash().digest().toString('hex')).join(' ') };`;
  const [hex, base64, base64url, bytes] = atRequest(body, { head }).response.body.split(' ');
  assert.match(hex, /^ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb$/);
  assert.deepEqual(Buffer.from(base64, 'base64').toString('hex'), hex);
  assert.deepEqual([base64url, bytes], [Buffer.from(hex, 'hex').toString('base64url'), hex]);
});

test('console.log takes one argument, and is cut at 10 KB', () => {
  const logged = [];
  const text = `function handler(event) {
    console.log('a', 'b');
    console.log('x'.repeat(20000));
    return event.request;
  }`;
  new EdgeFunction('viewer-request', text, (message) => logged.push(message)).run(edge.event('GET', '/'));
  assert.deepEqual(logged.map((message) => message.length), [1, 10_240]);
});

test('the process answers pipelined calls by their ids, survives failures, and ends with its input', () => {
  const request = `import cf from 'cloudfront';
    async function handler(event) {
      cf.selectRequestOriginById('api');
      const value = await cf.kvs().get('k');
      event.request.headers.kvs = { value: value };
      if (event.request.uri === '/throw') throw new Error('thrown');
      return event.request;
    }`;
  const response = 'function handler(event) { return event.response; }';
  const functions = [`viewer-request=${file(request)}`, `viewer-response=${file(response)}`];
  const input = [
    { kvs: { k: 'first \u2028 ü' } },
    { id: 1, run: 'viewer-request', event: edge.event('GET', '/a') },
    { id: 'two', run: 'viewer-request', event: edge.event('GET', '/throw') },
    { kvs: { k: 'second' } },
    { id: 3, run: 'viewer-request', event: edge.event('GET', '/a', { 'x-large': 'ü'.repeat(300_000) }) },
    { id: 4, run: 'viewer-response', event: edge.responseEvent('GET', '/a', 200) },
    { id: 5, run: 'origin-request', event: edge.event('GET', '/a') },
  ];
  const { status, stdout } = asProcess(functions, input.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const answers = Object.fromEntries(lines(stdout).map(({ id, ...rest }) => [id, rest]));
  assert.equal(status, 0);
  assert.equal(answers[1].request.headers.kvs.value, 'first \u2028 ü');
  assert.equal(answers[1].origin, 'api');
  assert.deepEqual(answers.two, { error: { status: 503, message: 'viewer-request: Error: thrown' } });
  assert.equal(answers[3].request.headers['x-large'].value.length, 300_000);
  assert.equal(answers[3].request.headers.kvs.value, 'second');
  assert.equal(answers[4].response.statusCode, 200);
  assert.equal(answers[5].error.status, 502);
});

// In a process: the test runner's own bookkeeping of promises doesn't survive that Node stops them.
test('an endless chain of promises is stopped, and the next call runs', () => {
  const text = `async function handler(event) {
    while (event.request.uri === '/endless') await null;
    return event.request;
  }`;
  const calls = ['/endless', '/a'].map((url, id) => ({ id, run: 'viewer-request', event: edge.event('GET', url) }));
  const input = calls.map((call) => `${JSON.stringify(call)}\n`).join('');
  const { status, stdout } = asProcess([`viewer-request=${file(text)}`], input);
  const answers = lines(stdout);
  assert.deepEqual([status, answers[0].error.status, answers[1].request.uri], [0, 503, '/a']);
});
