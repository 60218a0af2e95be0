// The same functions under njs, the engine that CloudFront's runtime is built on (an older version of it): its
// regular expressions, its strings and its async functions are not Node's.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import * as edge from './edge.mjs';

const skip = spawnSync('njs', ['-v']).error ? "njs isn't on PATH: install Debian's package njs" : false;
const folder = mkdtempSync(join(tmpdir(), 'njs-'));
after(() => rmSync(folder, { recursive: true }));

const CLOUDFRONT = `let origin;
export default {
  kvs: () => ({ get: () => Promise.resolve(${JSON.stringify(edge.SECRETS.join(' '))}) }),
  selectRequestOriginById: (id) => { origin = id; },
  taken: () => { const taken = origin; origin = undefined; return taken; },
};
`;

// Each event is run to its end before the next begins.
const DRIVER = `
import fs from 'fs';
import taker from 'cloudfront';
const events = JSON.parse(fs.readFileSync('EVENTS'));
function step(at) {
  if (at === events.length) return;
  Promise.resolve(handler(events[at])).then((result) => {
    const origin = taker.taken();
    const kind = result.statusCode === undefined ? 'request' : 'response';
    const outcome = {};
    outcome[kind] = result;
    if (origin !== undefined) outcome.origin = origin;
    fs.appendFileSync('OUTCOMES', JSON.stringify(outcome) + '\\n'); // console.log cuts at 2 KB
    step(at + 1);
  });
}
step(0);
`;

function underNjs(name, events) {
  const [sent, outcomes] = [join(folder, `${name}.events`), join(folder, `${name}.outcomes`)];
  writeFileSync(join(folder, 'cloudfront'), CLOUDFRONT);
  writeFileSync(sent, JSON.stringify(events));
  const driver = DRIVER.replace('EVENTS', sent).replace('OUTCOMES', outcomes);
  writeFileSync(join(folder, name), edge.source(name) + driver);
  const { stdout, stderr, status } = spawnSync('njs', ['-p', folder, join(folder, name)], { encoding: 'utf8' });
  assert.deepEqual([status, stderr], [0, ''], stdout);
  return readFileSync(outcomes, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
}

// njs has no frozen clock: URLs are of the far future, and what tells the time isn't compared.
function comparable(outcome) {
  const same = JSON.parse(JSON.stringify(outcome).replace(/\/\d{13}-/, '/TIME-'));
  if (same.response?.headers['last-modified']) same.response.headers['last-modified'].value = 'DATE';
  return same;
}

function assertSame(run, name, events) {
  const outcomes = underNjs(name, events);
  assert.equal(outcomes.length, events.length);
  events.forEach((sent, at) => {
    assert.deepEqual(comparable(outcomes[at]), comparable(run.run(sent)), JSON.stringify(sent.request));
  });
  return outcomes;
}

const EXPIRES = 99_999_999_999;
const put = edge.uploadUrl({ expires: EXPIRES });
const get = edge.objectUrl({ expires: EXPIRES });

test('viewer_request.js does under njs what it does under Node', { skip }, () => {
  const sized = (size) => Buffer.alloc(size, 255).toString('base64');
  const blocks = ['QQ==', 'QQ%3D%3D', '%2B%2F%2B%2F', '+/+/', ' / /', sized(64)];
  const badBlocks = ['', 'QQ', 'QQ==%0A', '%', '%ff', 'ü', '%C3%BC', sized(65), sized(6_000)];
  const large = '9'.repeat(400);
  const ranges = ['bytes=0-0', ' BYTES = 5 - ', 'bytes=-5', 'bytes=2-1', 'bytes=0-1,3-4', `bytes=${large}-`, 'x'];
  const events = [
    edge.event('PUT', put, edge.HOSTILE_HEADERS),
    ...edge.SECRETS.map((secret) => edge.event('PUT', edge.uploadUrl({ expires: EXPIRES, secret }))),
    ...[...blocks, ...badBlocks].map((id) => edge.event('PUT', `${put}&comp=block&blockid=${id}`)),
    edge.event('PUT', `${put}&comp=blocklist`, edge.HOSTILE_HEADERS),
    edge.event('PUT', `${put}&sig=x`),
    edge.event('PUT', put.replace('sig=', 'sig=x')),
    edge.event('PUT', put.replace(/sig=.*/, `sig=${'ü'.repeat(43)}`)),
    edge.event('PUT', edge.uploadUrl({ expires: 1_000_000_000 })),
    edge.event('PUT', edge.uploadUrl({ expires: `${EXPIRES}\n` })),
    edge.event('PUT', put, { 'content-length': undefined }),
    edge.event('PUT', put, { 'content-length': '5\n' }),
    edge.event('PUT', put, { 'content-length': '5368709121' }),
    edge.event('PUT', `/blobs/upload/${edge.ARCHIVE}\n?${edge.query('upload', edge.ARCHIVE, { expires: EXPIRES })}`),
    edge.event('GET', get, edge.HOSTILE_HEADERS),
    ...ranges.map((range) => edge.event('GET', get, { 'x-ms-range': range, 'if-match': `"${edge.ARCHIVE}"` })),
    edge.event('HEAD', get, { 'if-match': '"x", "y"' }),
    edge.event('DELETE', get),
    edge.event('GET', '/blobs/object/..'),
    edge.event('POST', '/twirp/x?__proto__=a&constructor=b', { ['__proto__']: 'x' }),
  ];
  const outcomes = assertSame(edge.viewerRequest(), 'viewer_request.js', events);
  const kinds = outcomes.map((one) => one.response?.statusCode ?? one.origin ?? 'bucket');
  assert.deepEqual([...new Set(kinds)].sort(), [400, 403, 404, 405, 411, 412, 413, 416, 'api', 'bucket']);
});

test('viewer_response.js does under njs what it does under Node', { skip }, () => {
  const headers = { etag: '"x"', 'x-amz-id-2': 'a', 'x-amz-request-id': 'b' };
  const events = [
    edge.responseEvent('PUT', `/archives/${edge.ARCHIVE}/parts/blob/1-r`, 200, headers),
    edge.responseEvent('GET', `/blobs/object/${edge.OBJECT}`, 206, headers),
    edge.responseEvent('PUT', `/blobs/upload/${edge.ARCHIVE}`, 201, { ...headers, 'x-ms-version': 'api' }),
  ];
  const outcomes = assertSame(edge.viewerResponse(), 'viewer_response.js', events);
  assert.deepEqual(outcomes.map((one) => one.response.statusCode), [201, 206, 201]);
});
