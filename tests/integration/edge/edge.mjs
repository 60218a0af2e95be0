// What the tests of the edge functions share: the functions under the emulation, events as CloudFront makes them
// from a raw URL, and signatures as domain/signing.py makes them.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { EdgeFunction } from '../../../dev/local/edge/runtime.mjs';

export const ARCHIVE = '0123456789abcdef0123456789abcdef';
export const OTHER_ARCHIVE = 'fedcba9876543210fedcba9876543210';
export const SIZE = 1000;
export const OBJECT_KEY = `${ARCHIVE}/merged/3f2a_Run-Token`;
export const OBJECT = `${SIZE}/${OBJECT_KEY}`;
export const SECRETS = ['the-old-secret', 'the-new-secret-ü'];
export const NOW = 1_790_000_000_000;
export const REQUEST_ID = 'EXAMPLEntjQpEXAMPLE_SG5Z-EXAMPLEPmPf==';
export const HOST = 'd111111abcdef8.cloudfront.net';
export const READ_ONLY = ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'];

// What CloudFront would sign for the client, were it forwarded to S3; and names that JavaScript objects have anyway.
export const HOSTILE_HEADERS = {
  'x-amz-copy-source': `bucket/archives/${OTHER_ARCHIVE}/merged/x`,
  'x-amz-copy-source-range': 'bytes=0-1',
  'x-amz-server-side-encryption': 'aws:kms',
  'x-amz-server-side-encryption-customer-key': 'a2V5',
  'x-amz-tagging': 'a=b',
  'x-amz-acl': 'public-read',
  'x-amz-meta-a': 'b',
  'x-amz-storage-class': 'GLACIER',
  'x-amz-website-redirect-location': 'https://example.com/',
  'x-amz-object-lock-mode': 'COMPLIANCE',
  'x-amz-content-sha256': 'UNSIGNED-PAYLOAD',
  'x-amz-security-token': 'x',
  'x-http-method-override': 'DELETE',
  authorization: 'AWS4-HMAC-SHA256 Credential=x',
  'cache-control': 'public',
  'content-disposition': 'attachment',
  'content-encoding': 'aws-chunked',
  'content-md5': 'AAAA',
  'content-type': 'text/html',
  cookie: 'a=b',
  'if-modified-since': 'Wed, 21 Oct 2015 07:28:00 GMT',
  'if-none-match': '*',
  'if-range': '"x"',
  origin: 'https://example.com',
  'x-forwarded-host': 'example.com',
  'x-ms-copy-source': 'https://example.com/',
  'x-original-url': '/archives/',
  'x-viewer-host': 'example.com',
  ['__proto__']: 'x',
  constructor: 'x',
  hasownproperty: 'x',
  tostring: 'x',
};

const SOURCES = new URL('../../../functions/edge/', import.meta.url);

export function source(name) {
  return readFileSync(new URL(name, SOURCES), 'utf8');
}

export function viewerRequest({ text = source('viewer_request.js'), secrets = SECRETS.join(' '), log } = {}) {
  const edge = new EdgeFunction('viewer-request', text, log);
  edge.setStore(secrets === null ? {} : { 'url-signing-secrets': secrets });
  return edge;
}

export function viewerResponse() {
  return new EdgeFunction('viewer-response', source('viewer_response.js'));
}

export function query(direction, subject, { expires = NOW / 1000 + 600, secret = SECRETS[1] } = {}) {
  const signature = createHmac('sha256', secret).update(`${direction}\n${subject}\n${expires}`).digest('base64url');
  return `se=${expires}&sig=${signature}`;
}

export function uploadUrl(options) {
  return `/blobs/upload/${ARCHIVE}?${query('upload', ARCHIVE, options)}`;
}

export function objectUrl(options) {
  return `/blobs/object/${OBJECT}?${query('object', OBJECT, options)}`;
}

// As "Event structure" has it: values as they were sent, the first of several also as `value`.
export function entries(pairs) {
  const fields = Object.create(null);
  for (const [name, value] of pairs) {
    const entry = fields[name];
    if (entry === undefined) fields[name] = { value };
    else entry.multiValue = [...(entry.multiValue ?? [{ value: entry.value }]), { value }];
  }
  return fields;
}

export function event(method, url, headers = {}, eventType = 'viewer-request') {
  const [uri, ...rest] = url.split('?');
  const pairs = rest.length === 0 ? [] : rest.join('?').split('&');
  const sent = method === 'PUT' ? { host: HOST, 'content-length': '5' } : { host: HOST };
  return {
    version: '1.0',
    context: { distributionDomainName: HOST, distributionId: 'EDFDVBD6EXAMPLE', eventType, requestId: REQUEST_ID },
    viewer: { ip: '198.51.100.11' },
    request: {
      method,
      uri,
      querystring: entries(pairs.map((pair) => [pair.split('=')[0], pair.split('=').slice(1).join('=')])),
      headers: entries(Object.entries({ ...sent, ...headers }).filter(([, value]) => value !== undefined)),
      cookies: {},
    },
  };
}

export function responseEvent(method, uri, statusCode, headers = {}) {
  const made = event(method, uri, {}, 'viewer-response');
  made.response = { statusCode, statusDescription: 'OK', headers: entries(Object.entries(headers)), cookies: {} };
  return made;
}

export function assertToBucket(outcome, uri) {
  assert.equal(outcome.error, undefined, outcome.error?.message);
  assert.equal(outcome.response, undefined, outcome.response?.body);
  assert.equal(outcome.origin, undefined);
  assert.match(outcome.request.uri, uri);
  assert.deepEqual(outcome.request.querystring, {});
  assert.deepEqual(outcome.request.cookies, {});
}

// Whatever type the client named: an object must never be shown as a page.
export function assertTyped(request, isPut) {
  assert.equal(request.headers['content-type']?.value, isPut ? 'application/octet-stream' : undefined);
}

export function assertInert(headers) {
  assert.equal(headers['content-security-policy'].value, "default-src 'none'; sandbox");
  assert.equal(headers['x-content-type-options'].value, 'nosniff');
}

export function assertToApi(outcome, sent) {
  assert.equal(outcome.origin, 'api', JSON.stringify(outcome));
  const { 'x-viewer-host': viewerHost, ...headers } = outcome.request.headers;
  assert.deepEqual(viewerHost, { value: HOST });
  const { 'x-viewer-host': spoofed, ...sentHeaders } = sent.request.headers;
  const plain = (value) => JSON.parse(JSON.stringify(value));
  assert.deepEqual(plain({ ...outcome.request, headers }), plain({ ...sent.request, headers: sentHeaders }));
}

export function assertRefused(outcome, status, code) {
  assert.equal(outcome.error, undefined, outcome.error?.message);
  assert.ok(outcome.response, `not refused: ${JSON.stringify(outcome)}`);
  const { statusCode, headers, body } = outcome.response;
  assert.deepEqual([statusCode, headers['x-ms-error-code'].value], [status, code]);
  assert.equal(headers['content-type'].value, 'application/xml');
  assert.equal(headers['x-ms-request-id'].value, REQUEST_ID);
  assert.equal(headers['x-ms-version'].value, '2025-11-05');
  assertInert(headers);
  const [declaration, content] = [body.slice(0, 38), body.slice(38)];
  assert.equal(declaration, '<?xml version="1.0" encoding="utf-8"?>');
  assert.match(content, new RegExp(`^<Error><Code>${code}</Code><Message>[^<>&]+</Message></Error>$`));
}
