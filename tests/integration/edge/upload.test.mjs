import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as edge from './edge.mjs';

const run = edge.viewerRequest();
const MAX_PART_BYTES = 5 * 1024 ** 3;
const ARRIVAL = '1790000000000-EXAMPLEntjQpEXAMPLE_SG5Z-EXAMPLEPmPf';

function send(method, url, headers, now = edge.NOW) {
  return run.run(edge.event(method, url, headers), now);
}

test('a Put Blob goes to the bucket, to a key of its arrival', () => {
  const key = new RegExp(`^/archives/${edge.ARCHIVE}/parts/blob/${ARRIVAL}$`);
  for (const type of [undefined, 'BlockBlob', 'blockblob', 'BLOCKBLOB']) {
    edge.assertToBucket(send('PUT', edge.uploadUrl(), { 'x-ms-blob-type': type }), key);
  }
});

test('an append blob is created with no bytes, and each append has one at least', () => {
  const created = send('PUT', edge.uploadUrl(), { 'x-ms-blob-type': 'AppendBlob' });
  const appended = send('PUT', `${edge.uploadUrl()}&comp=appendblock`, { 'content-length': '0' });
  for (const outcome of [created, appended]) edge.assertRefused(outcome, 400, 'InvalidHeaderValue');
});

test("what is put is told by `comp`, whatever its case, before the blob's type", () => {
  for (const [comp, place] of [['BLOCK', 'blocks/QQ'], ['Block', 'blocks/QQ'], ['AppendBlock', 'append/next']]) {
    for (const type of [undefined, 'BlockBlob', 'AppendBlob', 'PageBlob']) {
      const outcome = send('PUT', `${edge.uploadUrl()}&blockid=QQ==&comp=${comp}`, { 'x-ms-blob-type': type });
      edge.assertToBucket(outcome, new RegExp(`/parts/${place}/${ARRIVAL}$`));
    }
  }
});

test('cookies stay out of the bucket', () => {
  const sent = edge.event('PUT', edge.uploadUrl());
  sent.request.cookies = { a: { value: 'b' } };
  edge.assertToBucket(run.run(sent, edge.NOW), /parts\/blob/);
});

test('keys of arrivals sort by time', () => {
  const uri = (now) => send('PUT', edge.uploadUrl({ expires: 99_999_999_999 }), {}, now).request.uri;
  const times = [1, 999_999_999_999, 1_000_000_000_000, edge.NOW, edge.NOW + 1];
  assert.deepEqual(times.map(uri), times.map(uri).sort());
});

// test_twins.py holds keys and ids of blocks against the core's own.
test('a block without an id is refused', () => {
  edge.assertRefused(send('PUT', `${edge.uploadUrl()}&comp=block`), 400, 'InvalidInput');
});

test('what is no part goes to the API as it came, with the host that was asked', () => {
  const put = edge.uploadUrl();
  const others = [
    ['PUT', `${put}&comp=blocklist`],
    ['PUT', `${put}&comp=seal`],
    ['POST', `${put}&comp=appendblock`],
    ['PUT', `${put}&comp=blockblob`],
    ['PUT', `${put}&comp=appendblob`],
    ['GET', `${put}&comp=blocklist`],
    ['PUT', `${put}&comp=`],
    ['GET', put],
    ['HEAD', put],
    ['DELETE', put],
    ['POST', `${put}&comp=block&blockid=QQ==`],
    ['PUT', `/blobs/download/${edge.ARCHIVE}?${edge.query('download', edge.ARCHIVE)}`],
    ['POST', '/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry'],
    ['GET', '/'],
  ];
  const headers = { authorization: 'Bearer x', 'content-encoding': 'gzip', 'x-viewer-host': 'evil' };
  for (const [method, url] of others) {
    const sent = edge.event(method, url, headers);
    edge.assertToApi(run.run(sent, edge.NOW), sent);
  }
  const page = edge.event('PUT', put, { 'x-ms-blob-type': 'PageBlob' });
  edge.assertToApi(run.run(page, edge.NOW), page);
});

test('a part must say its size, and have what S3 takes in one PUT', () => {
  const sized = (size) => send('PUT', edge.uploadUrl(), { 'content-length': size });
  for (const size of ['0', '1', `${MAX_PART_BYTES}`]) edge.assertToBucket(sized(size), /./);
  for (const size of [`${MAX_PART_BYTES + 1}`, '9'.repeat(400)]) {
    edge.assertRefused(sized(size), 413, 'RequestBodyTooLarge');
  }
  for (const size of [undefined, '', 'x', '-1', '+1', '1.5', '1e3', '0x10', '5, 5', ' 5', '٣']) {
    edge.assertRefused(sized(size), 411, 'MissingContentLengthHeader');
  }
  assert.match(sized(`${MAX_PART_BYTES + 1}`).response.body, /5368709120 bytes; send more as blocks/);
});

test('an unsigned part is told nothing but that', () => {
  const outcome = send('PUT', `/blobs/upload/${edge.ARCHIVE}?comp=block&blockid=!`, { 'content-length': undefined });
  edge.assertRefused(outcome, 403, 'AuthenticationFailed');
});

test('any of the secrets may have signed, and no other', () => {
  for (const secret of edge.SECRETS) edge.assertToBucket(send('PUT', edge.uploadUrl({ secret })), /./);
  for (const secret of ['', 'another', edge.SECRETS.join(' ')]) {
    edge.assertRefused(send('PUT', edge.uploadUrl({ secret })), 403, 'AuthenticationFailed');
  }
});

test('without a usable secret the edge is busy, and says why in its log only', () => {
  for (const secrets of [null, '', '   ']) {
    const logged = [];
    const bare = edge.viewerRequest({ secrets, log: (message) => logged.push(message) });
    const outcome = bare.run(edge.event('PUT', edge.uploadUrl({ secret: '' })), edge.NOW);
    edge.assertRefused(outcome, 503, 'ServerBusy');
    assert.match(logged.join(), /url-signing-secrets/);
    assert.doesNotMatch(outcome.response.body, /secret/);
  }
});

test('a URL is good until the second in which it expires', () => {
  const url = edge.uploadUrl({ expires: edge.NOW / 1000 });
  edge.assertToBucket(send('PUT', url, {}, edge.NOW - 1), /./);
  edge.assertRefused(send('PUT', url, {}, edge.NOW), 403, 'AuthenticationFailed');
  assert.match(send('PUT', url, {}, edge.NOW).response.body, /has expired; ask the cache service for a new one/);
});

test('an expiry that is no plain decimal has expired, signed or not', () => {
  for (const expires of ['', '-1', '1e20', '0x7fffffff', '99999999999.5', 'NaN', 'Infinity', '٣'.repeat(12)]) {
    edge.assertRefused(send('PUT', edge.uploadUrl({ expires })), 403, 'AuthenticationFailed');
  }
});

test('a parameter that decides may be given once', () => {
  const put = `${edge.uploadUrl()}&comp=block&blockid=QQ==`;
  for (const again of ['se=9', 'sig=x', 'comp=block', 'blockid=QQ==', 'comp=blocklist']) {
    edge.assertRefused(send('PUT', `${put}&${again}`), 400, 'InvalidQueryParameterValue');
  }
  const either = send('PUT', `${edge.uploadUrl()}&comp=blocklist&comp=block&blockid=QQ==`);
  edge.assertRefused(either, 400, 'InvalidQueryParameterValue');
  edge.assertToBucket(send('PUT', `${put}&timeout=1&timeout=2`), /./);
});

test('a part costs one HMAC for each secret, and what the API gets costs none', () => {
  const hashing = 'const digest = ';
  const text = edge.source('viewer_request.js').replace(hashing, `console.log('HMAC'); ${hashing}`);
  for (const secrets of ['a', 'a b', 'a b c']) {
    const part = edge.uploadUrl({ secret: 'a' });
    const costs = [[part, secrets.split(' ').length], [`${part}&comp=blocklist`, 0], ['/', 0]];
    for (const [url, expected] of costs) {
      const logged = [];
      const counting = edge.viewerRequest({ text, secrets, log: (message) => logged.push(message) });
      counting.run(edge.event('PUT', url), edge.NOW);
      assert.deepEqual(logged, Array(expected).fill('HMAC'));
    }
  }
});
