// What must hold whoever asks: each check takes the viewer-request function, so that it can be given a broken one.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as edge from './edge.mjs';

const run = edge.viewerRequest();

const TO_BUCKET = [
  ['PUT', edge.uploadUrl(), ['content-type']],
  ['PUT', `${edge.uploadUrl()}&comp=block&blockid=QQ==`, ['content-type']],
  ['GET', edge.objectUrl(), ['range']],
];

function hostileHeadersStayOut(run) {
  for (const [method, url, mayStay] of TO_BUCKET) {
    const headers = { ...edge.HOSTILE_HEADERS, 'if-match': '*', range: 'bytes=0-1', via: '1.1 x', 'cdn-loop': 'x' };
    const outcome = run.run(edge.event(method, url, headers), edge.NOW);
    edge.assertToBucket(outcome, /^\/archives\//);
    const names = Object.keys(outcome.request.headers);
    assert.deepEqual(names.filter((name) => ![...edge.READ_ONLY, ...mayStay].includes(name)), []);
    edge.assertTyped(outcome.request, method === 'PUT');
  }
}

function otherSignaturesAreRefused(run) {
  for (const [method, url] of TO_BUCKET) {
    const signature = /sig=([^&]+)/.exec(url)[1];
    const refused = (forged) => {
      const outcome = run.run(edge.event(method, url.replace(`sig=${signature}`, forged)), edge.NOW);
      edge.assertRefused(outcome, 403, 'AuthenticationFailed');
    };
    for (let at = 0; at < signature.length; at += 1) {
      refused(`sig=${signature.slice(0, at)}`);
      const other = signature[at] === 'A' ? 'B' : 'A';
      refused(`sig=${signature.slice(0, at)}${other}${signature.slice(at + 1)}`);
    }
    const padded = [`${signature}=`, `${signature}A`, `${signature}%00`, ` ${signature}`, signature.toLowerCase()];
    for (const forged of padded) refused(`sig=${forged}`);
    for (const forged of ['sig', 'sig=', 'SIG=x', 'signature=x', 'sig=%', 'sig=undefined', 'sig[]=x']) refused(forged);
  }
}

function signaturesAreGoodForOneThingOnly(run) {
  const uploads = (secondQuery) => ['PUT', `/blobs/upload/${edge.ARCHIVE}?${secondQuery}`];
  const objects = (secondQuery) => ['GET', `/blobs/object/${edge.OBJECT}?${secondQuery}`];
  const swapped = [
    uploads(edge.query('object', edge.ARCHIVE)),
    uploads(edge.query('download', edge.ARCHIVE)),
    uploads(edge.query('upload', edge.OTHER_ARCHIVE)),
    objects(edge.query('upload', edge.OBJECT)),
    objects(edge.query('upload', edge.ARCHIVE)),
    objects(edge.query('object', edge.ARCHIVE)),
    objects(edge.query('object', `${edge.OBJECT}x`)),
    objects(edge.query('object', `archives/${edge.OBJECT}`)),
    uploads(edge.query('upload', edge.ARCHIVE).replace(/se=\d+/, 'se=99999999999')),
    // The message of another split into lines.
    uploads(edge.query('upload', `${edge.ARCHIVE}\n1`)),
    uploads(edge.query('upload\n', edge.ARCHIVE)),
  ];
  for (const [method, url] of swapped) {
    edge.assertRefused(run.run(edge.event(method, url), edge.NOW), 403, 'AuthenticationFailed');
  }
}

// CloudFront matches behaviors by the normalized path: each of these may arrive at the bucket's.
function pathsThatOnlyResembleOursGoToTheApi(run) {
  const { ARCHIVE } = edge;
  const paths = [
    `/x/../blobs/upload/${ARCHIVE}`,
    `/./blobs/upload/${ARCHIVE}`,
    `//blobs/upload/${ARCHIVE}`,
    `/blobs//upload/${ARCHIVE}`,
    `/blobs/%75pload/${ARCHIVE}`,
    `/blobs/upload%2F${ARCHIVE}`,
    `/blobs/upload/${ARCHIVE}/`,
    `/blobs/upload/${ARCHIVE}/../${edge.OTHER_ARCHIVE}`,
    `/blobs/upload/${ARCHIVE}%0A`,
    `/blobs/upload/${ARCHIVE}%2F..`,
    `/blobs/upload/${ARCHIVE}\n`,
    `/blobs/upload/${ARCHIVE.toUpperCase()}`,
    `/blobs/upload/${ARCHIVE}0`,
    `/blobs/upload/${ARCHIVE.slice(1)}`,
    `/blobs/upload/${ARCHIVE.slice(1)}ａ`,
    '/blobs/upload/',
    '/blobs/upload/../../archives/x',
    `/x/../blobs/object/${edge.OBJECT}`,
    `/blobs/%6Fbject/${edge.OBJECT}`,
    `/BLOBS/object/${edge.OBJECT}`,
    `/archives/${edge.OBJECT}`,
    `/archives/${ARCHIVE}/manifest/x`,
  ];
  for (const path of paths) {
    for (const method of ['PUT', 'GET']) {
      const sent = edge.event(method, `${path}?${edge.query('upload', ARCHIVE)}`, edge.HOSTILE_HEADERS);
      edge.assertToApi(run.run(sent, edge.NOW), sent);
    }
  }
}

function pathsThatNoObjectCanHaveAreNotFound(run) {
  const { ARCHIVE } = edge;
  const subjects = [
    '',
    '9',
    ARCHIVE,
    `${ARCHIVE}/merged/x`,
    `/${ARCHIVE}/merged/x`,
    `-1/${ARCHIVE}/merged/x`,
    `1e3/${ARCHIVE}/merged/x`,
    `${'9'.repeat(16)}/${ARCHIVE}/merged/x`,
    `9/${ARCHIVE}/merged/`,
    `9/${ARCHIVE}/manifest/token`,
    `9/${ARCHIVE}/parts/../manifest/token`,
    `9/${ARCHIVE}/parts/%2e%2e/manifest/token`,
    `9/${ARCHIVE}/parts%2Fblob`,
    `9/${ARCHIVE.toUpperCase()}/merged/x`,
    `9/${ARCHIVE}0/merged/x`,
    `9/${ARCHIVE}/merged/x.y`,
    `9/${ARCHIVE}/merged/x\n`,
    `9/${ARCHIVE}/merged/ü`,
    `9/../${ARCHIVE}/merged/x`,
    `9//${ARCHIVE}/merged/x`,
  ];
  for (const subject of subjects) {
    const url = `/blobs/object/${subject}?${edge.query('object', subject)}`;
    edge.assertRefused(run.run(edge.event('GET', url), edge.NOW), 404, 'BlobNotFound');
  }
}

function malformedEscapesAreRefused(run) {
  for (const id of ['%', '%z', '%zz', '%ff', '%C3%28', 'QQ%3', '%ED%A0%80']) {
    const url = `${edge.uploadUrl()}&comp=block&blockid=${id}`;
    edge.assertRefused(run.run(edge.event('PUT', url), edge.NOW), 400, 'InvalidInput');
  }
}

const PIECES = [
  ...['/', '..', '%2e%2e', '%2F', '%', '%zz', '%00', '\n', ' ', '+', '=', '&', '?', ';', ',', '"', '<a>', "'", '\\'],
  ...['ü', '💥', '\u2028', '0', '1', 'a'.repeat(8_000), '__proto__', 'constructor', 'hasOwnProperty', 'toString'],
  ...['blobs', 'upload', 'object', 'archives', 'parts', 'merged', 'manifest', edge.ARCHIVE, edge.OTHER_ARCHIVE],
  ...['comp', 'comp=block', 'blockid', 'blockid=QQ==', 'se', 'sig', 'se=1'],
  ...[edge.query('upload', edge.ARCHIVE), edge.query('object', edge.OBJECT)],
];
const STARTS = ['', edge.uploadUrl(), edge.objectUrl(), `/blobs/upload/${edge.ARCHIVE}`, '/blobs/object/', '/blobs/'];
const NAMES = [...Object.keys(edge.HOSTILE_HEADERS), 'range', 'x-ms-range', 'if-match', 'x-ms-blob-type', 'content-length'];

// Whatever comes, the answer is one that CloudFront takes, and the bucket is reached by signed parts and objects only.
function nothingElseReachesTheBucket(run) {
  let seed = 42;
  const below = (bound) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff; // the same sequence in each run
    return (seed >>> 8) % bound;
  };
  const pick = (list) => list[below(list.length)];
  const soup = () => Array.from({ length: below(5) }, () => pick(PIECES)).join('');
  const reached = new Set();
  for (let round = 0; round < 1_500; round += 1) {
    const odd = Array.from({ length: below(6) }, () => [pick(NAMES), soup().replaceAll('\n', '')]);
    const headers = { 'content-length': '5', ...Object.fromEntries(odd) };
    const joint = pick(['', '/', '&', '?', '&comp=', '&comp=block&blockid=']);
    const url = `/${pick(STARTS).slice(1)}${joint}${soup()}`;
    const sent = edge.event(pick(['PUT', 'GET', 'HEAD', 'POST', 'DELETE']), url, headers);
    const outcome = run.run(sent, edge.NOW);
    assert.equal(outcome.error, undefined, `${outcome.error?.message}: ${JSON.stringify(sent)}`);
    if (outcome.response) {
      reached.add('refusal');
      assert.doesNotMatch(outcome.response.body.slice(40), /[<>]a[<>]|__proto__|💥/);
    } else if (outcome.origin === 'api') {
      reached.add('api');
      edge.assertToApi(outcome, sent);
    } else {
      reached.add('bucket');
      const place = sent.request.method === 'PUT' ? `/archives/${edge.ARCHIVE}/parts/` : `/archives/${edge.OBJECT_KEY}`;
      assert.ok(outcome.request.uri.startsWith(place), outcome.request.uri);
      assert.match(outcome.request.uri, /^[A-Za-z0-9_/-]+$/);
      const names = Object.keys(outcome.request.headers);
      assert.deepEqual(names.filter((name) => ![...edge.READ_ONLY, 'content-type', 'range'].includes(name)), []);
      edge.assertTyped(outcome.request, sent.request.method === 'PUT');
    }
  }
  assert.deepEqual([...reached].sort(), ['api', 'bucket', 'refusal']);
}

// ------------------------------------------------------------------ the checks, and what they notice

const CHECKS = {
  'no header of the client reaches S3 but those that are needed there': hostileHeadersStayOut,
  'an altered, truncated or missing signature is refused': otherSignaturesAreRefused,
  'a signature is good for one archive or object, one direction, and its expiry': signaturesAreGoodForOneThingOnly,
  'a path that only resembles ours goes to the API, whatever behavior CloudFront matched': pathsThatOnlyResembleOursGoToTheApi,
  'a path that no object can have is not found, whatever was signed': pathsThatNoObjectCanHaveAreNotFound,
  'a malformed escape in a block id is refused': malformedEscapesAreRefused,
  'whatever comes, only signed parts and objects reach the bucket': nothingElseReachesTheBucket,
};

for (const [what, check] of Object.entries(CHECKS)) test(what, () => check(run));

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
const MUTANTS = [
  [hostileHeadersStayOut, 'request.headers = headers;', 'Object.assign(request.headers, headers);'],
  [hostileHeadersStayOut, "{ 'content-type': { value: 'application/octet-stream' } }", '{}'],
  [otherSignaturesAreRefused, 'return difference === 0;', 'return true;'],
  [otherSignaturesAreRefused, 'expected.length ^ text.length', '0'],
  [signaturesAreGoodForOneThingOnly, "'object', object.subject, secrets", "'upload', object.subject, secrets"],
  [signaturesAreGoodForOneThingOnly, "'object', object.subject,", "'object', object.etag.slice(1, 33),"],
  [signaturesAreGoodForOneThingOnly, "'upload', archive, secrets", `'upload', '${edge.OTHER_ARCHIVE}', secrets`],
  [pathsThatOnlyResembleOursGoToTheApi, "cf.selectRequestOriginById('api');", ''],
  [pathsThatOnlyResembleOursGoToTheApi, "request.headers['x-viewer-host'] =", 'request.ignored ='],
  [pathsThatNoObjectCanHaveAreNotFound, '[A-Za-z0-9_\\/-]+)$/', '.+)$/'],
  [nothingElseReachesTheBucket, "|| request.method !== 'PUT'", ''],
  [malformedEscapesAreRefused, 'catch (error) {}', 'catch (error) { throw error; }'],
];

for (const [check, safeguard, instead] of MUTANTS) {
  test(`without ${safeguard}, ${check.name} fails`, () => {
    const text = edge.source('viewer_request.js');
    assert.ok(text.includes(safeguard), `${safeguard} is no part of viewer_request.js any more`);
    const mutant = edge.viewerRequest({ text: text.replace(safeguard, () => instead) });
    assert.throws(() => check(mutant), { code: 'ERR_ASSERTION' });
  });
}
