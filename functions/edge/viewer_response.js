// Viewer response, on the two blob behaviors: puts S3's answers into Azure's dialect.
// CloudFront doesn't run it for the origin's errors (400 and above).

// The path as the client sent it, or as viewer_request.js rewrote it: CloudFront doesn't document which.
const ARCHIVE = /^\/(?:blobs\/object\/[0-9]+|archives)\/([0-9a-f]{32})\//;

const APPENDED = /\/parts\/append\/([0-9]+|next)\//;

function handler(event) {
  const response = event.response;
  const headers = response.headers;
  if (headers['x-ms-version']) return response; // the API's own; an id alone may be the response headers policy's

  Object.keys(headers).forEach((name) => {
    if (name.startsWith('x-amz-')) delete headers[name];
  });
  headers['x-ms-request-id'] = { value: event.context.requestId };
  headers['x-ms-version'] = { value: '2025-11-05' };
  // The management page has this origin too: no browser may show a saved file as a page.
  headers['content-security-policy'] = { value: "default-src 'none'; sandbox" };
  headers['x-content-type-options'] = { value: 'nosniff' };

  if (event.request.method === 'PUT') {
    if (response.statusCode === 200) {
      response.statusCode = 201; // the JavaScript client takes 200 for an error
      response.statusDescription = 'Created';
    }
    headers['x-ms-request-server-encrypted'] = { value: 'true' };
    const offset = offsetOfAppended(event.request);
    if (offset !== null) headers['x-ms-blob-append-offset'] = { value: offset };
    if (!headers['last-modified']) headers['last-modified'] = { value: new Date().toUTCString() };
    return response;
  }

  headers['content-type'] = { value: 'application/octet-stream' };
  const found = ARCHIVE.exec(event.request.uri);
  if (found !== null) headers.etag = { value: `"${found[1]}"` };
  headers['x-ms-blob-type'] = { value: 'BlockBlob' };
  return response;
}

// Returns the offset of an Append Block, or null. One that names none gets 0: Azure's SDK counts on from there.
function offsetOfAppended(request) {
  const key = APPENDED.exec(request.uri);
  if (key !== null) return key[1] === 'next' ? '0' : String(Number(key[1]));
  const comp = request.querystring.comp;
  if (!comp || comp.value.toLowerCase() !== 'appendblock') return null;
  const named = request.headers['x-ms-blob-condition-appendpos'];
  return named ? named.value : '0';
}
