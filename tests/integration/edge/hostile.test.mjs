import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as edge from './edge.mjs';
import * as hostile from './hostile.mjs';

const run = edge.viewerRequest();

test('no header of the client reaches S3 but those that are needed there', () => {
  hostile.hostileHeadersStayOut(run);
});

test('an altered, truncated or missing signature is refused', () => {
  hostile.otherSignaturesAreRefused(run);
});

test('a signature is good for one archive or object, one direction, and its expiry', () => {
  hostile.signaturesAreGoodForOneThingOnly(run);
});

test('a path that only resembles ours goes to the API, whatever behavior CloudFront matched', () => {
  hostile.pathsThatOnlyResembleOursGoToTheApi(run);
});

test('a path that no object can have is not found, whatever was signed', () => {
  hostile.pathsThatNoObjectCanHaveAreNotFound(run);
});

test('a malformed escape in a block id is refused', () => {
  hostile.malformedEscapesAreRefused(run);
});

test('whatever comes, only signed parts and objects reach the bucket', () => {
  hostile.nothingElseReachesTheBucket(run);
});

test('names that every JavaScript object has are parameters like any other', () => {
  for (const name of ['__proto__', 'constructor', 'hasOwnProperty', 'toString', 'valueOf']) {
    const more = `${name}=x&${name}=y`;
    edge.assertToBucket(run.run(edge.event('PUT', `${edge.uploadUrl()}&${more}`), edge.NOW), /parts\/blob/);
    const unsigned = run.run(edge.event('PUT', `/blobs/upload/${edge.ARCHIVE}?${more}`), edge.NOW);
    edge.assertRefused(unsigned, 403, 'AuthenticationFailed');
  }
});

test('a long query and long headers are read like short ones', () => {
  const long = 'x'.repeat(7_900);
  edge.assertToBucket(run.run(edge.event('PUT', `${edge.uploadUrl()}&a=${long}`), edge.NOW), /parts\/blob/);
  const unsigned = run.run(edge.event('PUT', `/blobs/upload/${edge.ARCHIVE}?se=1&sig=${long}`), edge.NOW);
  edge.assertRefused(unsigned, 403, 'AuthenticationFailed');
  const tags = `${'"x",'.repeat(2_000)}*`;
  const headers = { 'x-long': 'x'.repeat(20_000), range: `bytes=${' '.repeat(9_000)}x`, 'if-match': tags };
  edge.assertToBucket(run.run(edge.event('GET', edge.objectUrl(), headers), edge.NOW), /merged/);
});

// Each takes one safeguard away. A check that doesn't notice proves nothing.
const MUTANTS = {
  hostileHeadersStayOut: [
    ['the headers allow-list', 'request.headers = headers;', 'Object.assign(request.headers, headers);'],
    ['the type of parts', "{ 'content-type': { value: 'application/octet-stream' } }", '{}'],
  ],
  otherSignaturesAreRefused: [
    ['the comparison', 'return difference === 0;', 'return true;'],
    ['the length', 'expected.length ^ text.length', '0'],
  ],
  signaturesAreGoodForOneThingOnly: [
    ['the direction', "'object', object.subject, secrets", "'upload', object.subject, secrets"],
    ['the subject', "'object', object.subject, secrets", "'object', object.etag.slice(1, 33), secrets"],
    ["the archive's own id", "'upload', archive, secrets", `'upload', '${edge.OTHER_ARCHIVE}', secrets`],
  ],
  pathsThatOnlyResembleOursGoToTheApi: [
    ['the choice of the origin', "cf.selectRequestOriginById('api');", ''],
    ['the viewer host', "request.headers['x-viewer-host'] =", 'request.ignored ='],
  ],
  pathsThatNoObjectCanHaveAreNotFound: [['the alphabet of objects', '[A-Za-z0-9_\\/-]+)$/', '.+)$/']],
  nothingElseReachesTheBucket: [['the method', "|| request.method !== 'PUT'", '']],
  malformedEscapesAreRefused: [['the malformed escape', 'catch (error) {}', 'catch (error) { throw error; }']],
};

for (const [check, mutants] of Object.entries(MUTANTS)) {
  for (const [what, safeguard, instead] of mutants) {
    test(`without ${what}, ${check} fails`, () => {
      const text = edge.source('viewer_request.js');
      assert.ok(text.includes(safeguard), `${safeguard} is no part of viewer_request.js any more`);
      const mutant = edge.viewerRequest({ text: text.replace(safeguard, () => instead) });
      hostile[check](run);
      assert.throws(() => hostile[check](mutant), { code: 'ERR_ASSERTION' });
    });
  }
}
