// Viewer request, on every cache behavior: checked parts and objects go to the bucket, all else to the API.
//
// CloudFront signs what goes to the bucket, so only what is checked and built anew here does. A path that only
// resembles ours goes to the API: CloudFront matches the normalized path, this function sees the raw one.
//
// Twins in actions_cache/domain: signing.py, object_keys.py, ranges.py.

import cf from 'cloudfront';
import crypto from 'crypto';

const SECRETS_KEY = 'url-signing-secrets'; // several, while they are rotated
const MAX_PART_BYTES = 5 * 1024 * 1024 * 1024; // S3's cap on one PUT
const MAX_BLOCK_KEY_CHARS = 86; // base64 of 64 bytes, without its padding
const LARGEST_OFFSET = 999999999999999; // more than any object has, and still an exact number

const UPLOAD = /^\/blobs\/upload\/([0-9a-f]{32})$/;
const OBJECT = /^\/blobs\/object\/([0-9]{1,15})\/([0-9a-f]{32})\/((?:parts|merged)\/[A-Za-z0-9_\/-]+)$/;
const BASE64 = /^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=)?$/;
const PARTS = ['blockblob', 'appendblob', 'comp=block', 'comp=appendblock'];
const OFFSET = /^[0-9]{1,15}$/;
const DECIMAL = /^[0-9]+$/;
const SINGLE_RANGE = /^[ \t]*bytes[ \t]*=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*$/i;

// Read-only at viewer request: may not be left out either.
const READ_ONLY_HEADERS = ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'];

const kvs = cf.kvs();

async function handler(event) {
  const request = event.request;
  try {
    const archive = archiveOfPart(request);
    const object = archive === null ? objectOf(request) : null;
    if (archive === null && object === null) return toApi(request);
    const secrets = await kvs.get(SECRETS_KEY);
    if (archive !== null) {
      checkUrl(request.querystring, 'upload', archive, secrets);
      return toBucket(request, partUri(event, archive), { 'content-type': { value: 'application/octet-stream' } });
    }
    checkUrl(request.querystring, 'object', object.subject, secrets);
    return toBucket(request, object.uri, readHeaders(request, object));
  } catch (error) {
    if (error.refusal) return refused(event, error);
    console.log(`${error}`);
    return refused(event, refusal(503, 'ServerBusy', 'the edge of this cache is not ready; try again'));
  }
}

function toApi(request) {
  const host = request.headers.host;
  request.headers['x-viewer-host'] = { value: host ? host.value : '' };
  cf.selectRequestOriginById('api');
  return request;
}

function toBucket(request, uri, headers) {
  READ_ONLY_HEADERS.forEach((name) => {
    if (request.headers[name]) headers[name] = request.headers[name];
  });
  request.uri = uri;
  request.headers = headers;
  request.querystring = {};
  request.cookies = {};
  return request;
}

// Returns the archive that a part is for, or null for any other request.
function archiveOfPart(request) {
  const found = fullMatch(UPLOAD, request.uri);
  if (found === null || request.method !== 'PUT') return null;
  return PARTS.includes(kindOf(request)) ? found[1] : null;
}

// Two `comp` could be any: checkUrl refuses them.
function kindOf(request) {
  const comp = request.querystring.comp;
  if (comp && !comp.multiValue) return `comp=${comp.value.toLowerCase()}`;
  const type = request.headers['x-ms-blob-type'];
  return type ? type.value.toLowerCase() : 'blockblob';
}

// Returns the object that a path names, with the subject of its URL's signature, or null for any other path.
function objectOf(request) {
  if (!request.uri.startsWith('/blobs/object/')) return null;
  const found = fullMatch(OBJECT, request.uri);
  if (found === null) throw refusal(404, 'BlobNotFound', 'no such object; ask the cache service for a new URL');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw refusal(405, 'UnsupportedHttpVerb', 'an object can be read by GET and HEAD only');
  }
  const key = `${found[2]}/${found[3]}`;
  return { subject: `${found[1]}/${key}`, size: Number(found[1]), etag: `"${found[2]}"`, uri: `/archives/${key}` };
}

function checkUrl(query, direction, subject, secrets) {
  ['se', 'sig', 'comp', 'blockid'].forEach((name) => {
    if (query[name] && query[name].multiValue) {
      throw refusal(400, 'InvalidQueryParameterValue', `${name} is given twice; send it once`);
    }
  });
  const expires = query.se ? query.se.value : '';
  const signature = query.sig ? query.sig.value : '';
  if (!isSigned(`${direction}\n${subject}\n${expires}`, signature, secrets)) {
    const message = `the signature of this ${direction} URL doesn't fit; ask the cache service for a new one`;
    throw refusal(403, 'AuthenticationFailed', message);
  }
  if (fullMatch(DECIMAL, expires) === null || Number(expires) * 1000 <= Date.now()) {
    throw refusal(403, 'AuthenticationFailed', `this ${direction} URL has expired; ask the cache service for a new one`);
  }
}

function isSigned(message, signature, secrets) {
  const usable = secrets.split(' ').filter((secret) => secret !== ''); // anybody can sign with an empty one
  if (usable.length === 0) throw new Error(`${SECRETS_KEY} holds no secret`);
  let fits = false;
  usable.forEach((secret) => {
    const digest = crypto.createHmac('sha256', secret).update(message).digest('base64url').replace(/=/g, '');
    fits = isSame(digest, signature) || fits;
  });
  return fits;
}

// Has no early exit, so that every text takes the same time.
function isSame(expected, text) {
  let difference = expected.length ^ text.length;
  for (let at = 0; at < expected.length; at += 1) difference |= expected.codePointAt(at) ^ text.codePointAt(at);
  return difference === 0;
}

function partUri(event, archive) {
  const size = event.request.headers['content-length'];
  if (!size || fullMatch(DECIMAL, size.value) === null) {
    throw refusal(411, 'MissingContentLengthHeader', 'send the size as Content-Length');
  }
  if (Number(size.value) > MAX_PART_BYTES) {
    throw refusal(413, 'RequestBodyTooLarge', `one PUT may have ${MAX_PART_BYTES} bytes; send more as blocks`);
  }
  const arrival = `${String(Date.now()).padStart(13, '0')}-${event.context.requestId.replace(/[^A-Za-z0-9_-]/g, '')}`;
  return `/archives/${archive}/parts/${placeOf(event.request, Number(size.value))}/${arrival}`;
}

// An Append Block stands at the offset it names: one sent again replaces the first.
function placeOf(request, size) {
  const kind = kindOf(request);
  const id = request.querystring.blockid;
  if (kind === 'blockblob') return 'blob';
  if (kind === 'comp=block') return `blocks/${blockKey(id ? id.value : '')}`;
  if ((kind === 'appendblob') !== (size === 0)) {
    throw refusal(400, 'InvalidHeaderValue', 'create an append blob with no bytes; append one at least');
  }
  if (size === 0) return 'append/new';
  const offset = request.headers['x-ms-blob-condition-appendpos'];
  return `append/${offset && fullMatch(OFFSET, offset.value) ? offset.value.padStart(15, '0') : 'next'}`;
}

// Reads a block id as it was sent: `+` means itself, and so does a space, which is a decoded `+`.
function blockKey(sent) {
  let id = ''; // also of a malformed escape
  try {
    id = decodeURIComponent(sent).replace(/ /g, '+');
  } catch (error) {}
  const key = id.replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
  if (key === '' || key.length > MAX_BLOCK_KEY_CHARS || fullMatch(BASE64, id) === null) {
    throw refusal(400, 'InvalidInput', 'the block id must be base64 of 1 to 64 bytes');
  }
  return key;
}

// S3 ignores x-ms-range, has another ETag than the archive, and says 416 without the size.
function readHeaders(request, object) {
  const pinned = request.headers['if-match'];
  const tags = pinned ? pinned.value.split(',').map((tag) => tag.trim()) : ['*'];
  if (!tags.includes('*') && !tags.includes(object.etag)) {
    throw refusal(412, 'ConditionNotMet', 'If-Match names another ETag than this archive has');
  }
  const range = request.method === 'GET' ? rangeOf(request.headers, object) : null;
  return range === null ? {} : { range: { value: range } };
}

// Reads the range as S3 does; null for all. Ignores anything but a single byte range, and a plain one whose If-Range
// names another ETag or a date (RFC 9110).
function rangeOf(headers, object) {
  const size = object.size;
  const pin = headers['if-range'];
  const header = headers['x-ms-range'] || (pin && pin.value.trim() !== object.etag ? null : headers.range);
  const found = header ? fullMatch(SINGLE_RANGE, header.value) : null;
  if (found === null || (found[1] === '' && found[2] === '')) return null;
  const first = Math.min(Number(found[1]), LARGEST_OFFSET);
  const last = Math.min(Number(found[2]), LARGEST_OFFSET);
  if (found[1] !== '' && found[2] !== '' && first > last) return null;
  const start = found[1] === '' ? Math.max(0, size - last) : first;
  const end = found[1] === '' || found[2] === '' ? size : Math.min(size, last + 1);
  if (start < end) return `bytes=${start}-${end - 1}`;
  const error = refusal(416, 'InvalidRange', `the archive has ${size} bytes`);
  error.refusal.headers['content-range'] = { value: `bytes */${size}` };
  throw error;
}

// The runtime's `$` also matches before a newline at the end.
function fullMatch(pattern, text) {
  const found = pattern.exec(text);
  return found !== null && found[0] === text ? found : null;
}

function refusal(status, code, message) {
  const error = new Error(message);
  error.refusal = { status: status, code: code, headers: {} };
  return error;
}

// The messages are this file's own: nothing a client sent is in them.
function refused(event, error) {
  const info = error.refusal;
  const headers = info.headers;
  const add = (name, value) => (headers[name] = { value: value });
  add('content-type', 'application/xml');
  add('content-security-policy', "default-src 'none'; sandbox");
  add('x-content-type-options', 'nosniff');
  add('x-ms-error-code', info.code);
  add('x-ms-request-id', event.context.requestId);
  add('x-ms-version', '2025-11-05');
  return {
    statusCode: info.status,
    headers: headers,
    body:
      '<?xml version="1.0" encoding="utf-8"?>' +
      `<Error><Code>${info.code}</Code><Message>${error.message}</Message></Error>`,
  };
}
