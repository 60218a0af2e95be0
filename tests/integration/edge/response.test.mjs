import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as edge from './edge.mjs';

const run = edge.viewerResponse();
const REWRITTEN = { PUT: `/archives/${edge.ARCHIVE}/parts/blob/1-r`, GET: `/archives/${edge.OBJECT_KEY}` };
const SENT = { PUT: `/blobs/upload/${edge.ARCHIVE}`, GET: `/blobs/object/${edge.OBJECT}` };
const OF_S3 = {
  etag: '"0cc175b9c0f1b6a831c399e269772661"',
  server: 'AmazonS3',
  'x-amz-id-2': 'a',
  'x-amz-request-id': 'b',
  'x-amz-server-side-encryption': 'AES256',
  'x-amz-version-id': 'c',
};

const INERT = {
  'content-security-policy': { value: "default-src 'none'; sandbox" },
  'x-content-type-options': { value: 'nosniff' },
};

// A saved file is no page, whatever type S3 names.
const CHANGED = { 'content-range': 'bytes 0-0/9', 'content-type': 'text/html' };

function respond(method, uri, status, headers = OF_S3) {
  return run.run(edge.responseEvent(method, uri, status, headers), edge.NOW).response;
}

test("S3's 200 for a part becomes the 201 that the clients take", () => {
  for (const uri of [SENT.PUT, REWRITTEN.PUT]) {
    const response = respond('PUT', uri, 200);
    assert.deepEqual([response.statusCode, response.statusDescription], [201, 'Created']);
    assert.deepEqual(response.headers, {
      ...INERT,
      etag: { value: OF_S3.etag },
      'last-modified': { value: new Date(edge.NOW).toUTCString() },
      server: { value: 'AmazonS3' },
      'x-ms-request-id': { value: edge.REQUEST_ID },
      'x-ms-request-server-encrypted': { value: 'true' },
      'x-ms-version': { value: '2025-11-05' },
    });
  }
});

test("an Append Block's answer says where it was put", () => {
  const put = (place) => respond('PUT', `/archives/${edge.ARCHIVE}/parts/append/${place}/1-r`, 200);
  const offsets = ['next', '000000000000000', '000000067108864'].map(put);
  assert.deepEqual(offsets.map((answer) => answer.headers['x-ms-blob-append-offset'].value), ['0', '0', '67108864']);
  const sent = edge.responseEvent('PUT', SENT.PUT, 200, OF_S3);
  sent.request.querystring = { comp: { value: 'appendblock' } };
  assert.equal(run.run(sent, edge.NOW).response.headers['x-ms-blob-append-offset'].value, '0');
  sent.request.headers['x-ms-blob-condition-appendpos'] = { value: '12' };
  assert.equal(run.run(sent, edge.NOW).response.headers['x-ms-blob-append-offset'].value, '12');
});

test('a time that S3 gave stays', () => {
  const given = 'Wed, 21 Oct 2015 07:28:00 GMT';
  assert.equal(respond('PUT', SENT.PUT, 200, { 'last-modified': given }).headers['last-modified'].value, given);
});

test('only 200 is turned into 201', () => {
  for (const status of [204, 307]) assert.equal(respond('PUT', SENT.PUT, status).statusCode, status);
});

test("what was read has the archive's ETag, whichever path CloudFront shows", () => {
  for (const method of ['GET', 'HEAD']) {
    for (const [uri, status] of [[SENT.GET, 200], [REWRITTEN.GET, 206]]) {
      const response = respond(method, uri, status, { ...OF_S3, ...CHANGED });
      assert.equal(response.statusCode, status);
      assert.deepEqual(response.headers, {
        ...INERT,
        'content-range': { value: 'bytes 0-0/9' },
        'content-type': { value: 'application/octet-stream' },
        etag: { value: `"${edge.ARCHIVE}"` },
        server: { value: 'AmazonS3' },
        'x-ms-blob-type': { value: 'BlockBlob' },
        'x-ms-request-id': { value: edge.REQUEST_ID },
        'x-ms-version': { value: '2025-11-05' },
      });
    }
  }
});

test("the API's own answers pass untouched", () => {
  for (const [method, status] of [['PUT', 200], ['PUT', 201], ['GET', 200], ['GET', 302]]) {
    const ours = { 'x-ms-request-id': 'of-the-api', 'x-ms-version': 'of-the-api', etag: '"x"' };
    const headers = { ...ours, 'x-amz-apigw-id': 'y' };
    const sent = edge.responseEvent(method, SENT.PUT, status, headers);
    const outcome = run.run(sent, edge.NOW);
    assert.deepEqual(outcome.response, JSON.parse(JSON.stringify(sent.response)));
  }
});

test("an id that came from the distribution's own headers makes no answer the API's", () => {
  const response = respond('PUT', SENT.PUT, 200, { ...OF_S3, 'x-ms-request-id': 'of-the-distribution' });
  assert.equal(response.statusCode, 201);
  assert.equal(response.headers['x-ms-request-id'].value, edge.REQUEST_ID);
});
