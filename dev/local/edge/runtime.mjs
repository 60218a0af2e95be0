// CloudFront Functions' JavaScript runtime 2.0, emulated: the edge functions as CloudFront would run them, and
// refused where it would refuse them. It is for functions of ours: no sandbox that would hold a hostile one.
//
// Sources: the CloudFront Developer Guide's pages "JavaScript runtime 2.0 features", "Event structure",
// "Helper methods for key value stores", "Helper methods for origin modification", "Restrictions on all edge
// functions", "Restrictions on CloudFront Functions" and "Quotas", as of 2026.
// Not emulated: syntax (tests/integration/edge holds the sources to the page's list), memory (2 MB) and compute utilization.
//
// As a process, `node runtime.mjs viewer-request=PATH viewer-response=PATH`, it speaks JSON lines:
//   in   {"kvs": {"key": "value"}}                             replaces the KeyValueStore's content
//   in   {"id": 7, "run": "viewer-request", "event": {...}}
//   out  {"id": 7, "request": {...}, "origin": "api"}          origin: only if the function selected one
//   out  {"id": 7, "response": {...}}
//   out  {"id": 7, "error": {"status": 503, "message": "..."}} it threw or took too long; 502: an invalid result

import buffer from 'node:buffer';
import crypto from 'node:crypto';
import { readFileSync } from 'node:fs';
import querystring from 'node:querystring';
import { StringDecoder } from 'node:string_decoder';
import { pathToFileURL } from 'node:url';
import { TextDecoder, TextEncoder } from 'node:util';
import vm from 'node:vm';

export const MAX_SOURCE_BYTES = 10_240; // "Quotas on CloudFront Functions": 10 KB
const MAX_URI_CHARS = 8_192; // exclusive, with the query: "Restrictions on all edge functions"
const ORIGINS = ['api', 'bucket'];

// Ends endless loops. It is wall time on a machine that may be busy, so it is no measure of CloudFront's CPU time.
const MAX_RUN_MS = 1_000;

const DISALLOWED_HEADERS = new RegExp(
  `^(?:${[
    'connection|expect|keep-alive|proxy-(?:authenticate|authorization|connection)|trailer|upgrade',
    'x-accel-(?:buffering|charset|limit-rate|redirect)|x-amz-cf-.*|x-cache|x-edge-.*|x-forwarded-proto|x-real-ip',
    'x-amzn-(?:auth|cf-billing|cf-id|cf-xff|errortype|fle-profile|header-count|header-order)',
    'x-amzn-(?:lambda-integration-tag|requestid)',
  ].join('|')})$`,
);
const READ_ONLY_HEADERS = {
  'viewer-request': ['cdn-loop', 'content-length', 'host', 'transfer-encoding', 'via'],
  'viewer-response': ['via', 'warning'],
};

const GLOBALS = `Object String Number Boolean Math Date Function RegExp JSON Array Promise Symbol
  Float32Array Float64Array Int8Array Int16Array Int32Array Uint8Array Uint8ClampedArray Uint16Array Uint32Array
  ArrayBuffer DataView TextDecoder TextEncoder Buffer console globalThis eval
  Error EvalError InternalError RangeError ReferenceError SyntaxError TypeError URIError
  decodeURI decodeURIComponent encodeURI encodeURIComponent isFinite isNaN parseFloat parseInt atob btoa
  NaN Infinity undefined`.split(/\s+/);

// What V8 has beyond the page's lists of methods, on the objects that invite to use it.
const ABSENT = {
  Object: 'fromEntries groupBy hasOwn getOwnPropertySymbols',
  Array: 'from fromAsync',
  'Array.prototype': `at entries findLast findLastIndex flat flatMap keys toReversed toSorted toSpliced values with
    toLocaleString`,
  String: 'raw',
  'String.prototype': `at matchAll normalize localeCompare isWellFormed toWellFormed anchor big blink bold fixed
    fontcolor fontsize italics link small strike sub sup toLocaleLowerCase toLocaleUpperCase`,
  Promise: 'withResolvers try',
};

// Runs inside the function's realm, so that the function meets that realm's objects only. `host` has what the realm
// lacks; `globals` and `absent` say what it has too much.
const PRELUDE = `(function (host, globals, absent) {
  'use strict';
  const construct = Reflect.construct, parse = JSON.parse, stringify = JSON.stringify, hasOwn = Object.hasOwn;
  const RealDate = Date, RealPromise = Promise, TheError = Error;
  let eventType, store = {}, now = 0, origin;

  function FrozenDate() {
    if (!new.target) return new RealDate(now).toString();
    return construct(RealDate, arguments.length ? arguments : [now], new.target);
  }
  FrozenDate.prototype = RealDate.prototype;
  FrozenDate.prototype.constructor = FrozenDate;
  FrozenDate.now = () => now;
  FrozenDate.parse = RealDate.parse;
  FrozenDate.UTC = RealDate.UTC;

  function later(work) {
    return new RealPromise((resolve) => resolve(work()));
  }

  function get(key, options) {
    return later(() => {
      if (typeof key !== 'string' || !hasOwn(store, key)) throw new TheError('KeyNotFound: ' + key);
      const format = options === undefined ? 'string' : options.format;
      if (format === 'string') return store[key];
      if (format === 'json') return parse(store[key]);
      if (format === 'bytes') return host.Buffer.from(store[key]);
      throw new TheError('format may be string, json or bytes');
    });
  }

  const modules = {
    buffer: { Buffer: host.Buffer },
    crypto: { createHash: host.createHash, createHmac: host.createHmac },
    querystring: host.querystring,
    cloudfront: {
      kvs: () => ({
        get,
        exists: (key) => later(() => hasOwn(store, key)),
        meta: () => later(() => ({ keyCount: Object.keys(store).length })),
      }),
      selectRequestOriginById(id) {
        if (eventType !== 'viewer-request') throw new TheError('an origin is selected at viewer-request only');
        if (!host.origins.includes(id)) throw new TheError('the distribution has no origin ' + id);
        origin = id;
      },
    },
  };

  globalThis.Date = FrozenDate;
  globalThis.InternalError = class InternalError extends Error {};
  globalThis.console = { log: (message) => host.log(String(message)) };
  for (const name of ['Buffer', 'TextDecoder', 'TextEncoder', 'atob', 'btoa']) globalThis[name] = host[name];
  for (const path of Object.keys(absent)) {
    const object = path.split('.').reduce((at, name) => at[name], globalThis);
    for (const name of absent[path].split(/\\s+/)) delete object[name];
  }
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    if (!globals.includes(name)) delete globalThis[name];
  }

  // The source is run anew for each call: CloudFront keeps nothing between them.
  return {
    setStore(json) {
      store = parse(json);
    },
    load: (factory) => factory((name) => modules[name]),
    start(factory, type, eventJson, startedAt, done) {
      eventType = type;
      now = startedAt;
      origin = undefined;
      const event = parse(eventJson);
      later(() => factory((name) => modules[name])(event)).then(
        (result) => done(stringify(result), origin, undefined),
        (error) => done(undefined, undefined, String(error)),
      );
    },
  };
})`;

const IMPORT = /^import[ \t]+([A-Za-z_$][\w$]*)[ \t]+from[ \t]+(['"])(buffer|cloudfront|crypto|querystring)\2;?/gm;

/** One function, as CloudFront would create it. Throws an Error that says why it would not. */
export class EdgeFunction {
  #runtime;
  #factory;
  #start;
  #started;

  constructor(eventType, source, log = () => {}) {
    must(Object.hasOwn(READ_ONLY_HEADERS, eventType), `${eventType} is no event of an edge function`);
    const size = Buffer.byteLength(source);
    must(size <= MAX_SOURCE_BYTES, `${eventType} has ${size} bytes; CloudFront takes ${MAX_SOURCE_BYTES}`);
    this.eventType = eventType;
    // A promise that nothing will settle is found out at the end of the call: CloudFront can't wait either.
    const context = vm.createContext(
      {},
      { codeGeneration: { strings: false, wasm: false }, microtaskMode: 'afterEvaluate' },
    );
    this.#runtime = vm.runInContext(PRELUDE, context)(hostSide(log), GLOBALS, ABSENT);
    // Any import that IMPORT doesn't know is left in place, where a script may have none: a SyntaxError.
    const body = source.replace(IMPORT, "const $1 = importModule('$3');");
    const script = `(function (importModule) { 'use strict'; ${body}\nreturn handler; })`;
    this.#factory = vm.runInContext(script, context, { filename: `${eventType}.js` });
    must(typeof this.#runtime.load(this.#factory) === 'function', `${eventType} has no function handler`);
    const entry = Symbol.for('edge.start'); // a name that the function doesn't see among its globals
    context[entry] = () => this.#start();
    this.#started = new vm.Script("this[Symbol.for('edge.start')]()");
    this.context = context;
  }

  /** Replaces the content of the KeyValueStore that is associated with the function. */
  setStore(content) {
    this.#runtime.setStore(JSON.stringify(content));
  }

  /** {request, origin?}, {response} or {error: {status, message}}. `now`: the function's start time in milliseconds. */
  run(event, now = Date.now()) {
    if (this.eventType === 'viewer-response' && event.response.statusCode >= 400) {
      return failed(502, 'CloudFront runs no viewer-response function where the origin answers 400 and above');
    }
    const seen = exposed(event);
    const outcome = this.#call(JSON.stringify(seen), now);
    if (outcome.error !== undefined) return failed(503, `${this.eventType}: ${outcome.error}`);
    try {
      const result = outcome.json === undefined ? undefined : JSON.parse(outcome.json);
      if (isResponse(result)) {
        checkResponse(result, seen, this.eventType);
        return { response: result };
      }
      checkRequest(result, seen, this.eventType);
      return outcome.origin === undefined ? { request: result } : { request: result, origin: outcome.origin };
    } catch (error) {
      return failed(502, `${this.eventType}: ${error.message}`);
    }
  }

  #call(eventJson, now) {
    let outcome = { error: 'it never came to a result' };
    const done = (json, origin, error) => {
      outcome = { json, origin, error };
    };
    this.#start = () => this.#runtime.start(this.#factory, this.eventType, eventJson, now, done);
    try {
      this.#started.runInContext(this.context, { timeout: MAX_RUN_MS });
    } catch (error) {
      return { error: String(error) };
    }
    return outcome;
  }
}

function hostSide(log) {
  return {
    Buffer,
    TextDecoder,
    TextEncoder,
    atob: buffer.atob,
    btoa: buffer.btoa,
    createHash: (algorithm) => hashing(crypto.createHash(known(algorithm))),
    createHmac: (algorithm, key) => hashing(crypto.createHmac(known(algorithm), key)),
    log: (message) => log(message.slice(0, 10_240)), // "Function logs are truncated at 10 KB"
    origins: ORIGINS,
    querystring: {
      decode: querystring.parse,
      encode: querystring.stringify,
      escape: querystring.escape,
      parse: querystring.parse,
      stringify: querystring.stringify,
      unescape: querystring.unescape,
    },
  };
}

function known(algorithm) {
  if (!['md5', 'sha1', 'sha256'].includes(algorithm)) throw new Error(`crypto has no ${algorithm}`);
  return algorithm;
}

function hashing(hash) {
  const methods = {
    update(data) {
      hash.update(data);
      return methods;
    },
    digest(encoding) {
      if (![undefined, 'base64', 'base64url', 'hex'].includes(encoding)) throw new Error(`no encoding ${encoding}`);
      return hash.digest(encoding);
    },
  };
  return methods;
}

// A function doesn't get to see the headers that it may not add.
function exposed(event) {
  const without = (message) => ({
    ...message,
    headers: Object.fromEntries(Object.entries(message.headers).filter(([name]) => !DISALLOWED_HEADERS.test(name))),
  });
  const seen = { ...event, request: without(event.request) };
  if (event.response) seen.response = without(event.response);
  return seen;
}

function failed(status, message) {
  return { error: { status, message } };
}

function isResponse(result) {
  return isObject(result) && Object.hasOwn(result, 'statusCode');
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSameJson(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}

function must(holds, message) {
  if (!holds) throw new Error(message);
}

function checkRequest(request, seen, eventType) {
  must(isObject(request) && Object.hasOwn(request, 'uri'), 'the result is neither a request nor a response');
  must(eventType === 'viewer-request', 'the result of a viewer-response function must be a response');
  must(request.method === seen.request.method, 'the method is read-only');
  must(typeof request.uri === 'string' && request.uri.startsWith('/'), 'the uri must begin with a slash');
  checkEntries(request.querystring, 'querystring');
  checkEntries(request.cookies, 'cookies');
  checkHeaders(request.headers, seen.request.headers, eventType);
  if (isSameJson([request.uri, request.querystring], [seen.request.uri, seen.request.querystring])) return;
  const query = Object.entries(request.querystring)
    .flatMap(([name, entry]) => (entry.multiValue ?? [entry]).map(({ value }) => `${name}=${value}`))
    .join('&');
  must(!/[\s#\u0000-\u001f\u007f]/.test(query), 'the querystring has a space, a control character or a #');
  const size = (query === '' ? request.uri : `${request.uri}?${query}`).length;
  must(size < MAX_URI_CHARS, `the uri has ${size} characters; it must be less than ${MAX_URI_CHARS}`);
}

function checkResponse(response, seen, eventType) {
  const status = response.statusCode;
  must(Number.isInteger(status) && status >= 100 && status <= 599, `the statusCode ${status} is none`);
  must(['string', 'undefined'].includes(typeof response.statusDescription), 'the statusDescription must be a string');
  const before = eventType === 'viewer-response' ? seen.response.headers : {};
  checkHeaders(response.headers ?? {}, before, eventType === 'viewer-response' ? eventType : null);
  checkEntries(response.cookies ?? {}, 'cookies');
  if (response.body === undefined || typeof response.body === 'string') return;
  must(isObject(response.body) && typeof response.body.data === 'string', 'the body must be a string, or have data');
  must(['text', 'base64'].includes(response.body.encoding), "the body's encoding must be text or base64");
  const { data, encoding } = response.body;
  must(encoding === 'text' || Buffer.from(data, 'base64').toString('base64') === data, 'the body is no base64');
}

function checkHeaders(headers, before, eventType) {
  checkEntries(headers, 'headers');
  for (const [name, entry] of Object.entries(headers)) {
    must(/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name), `the header name ${name} must be a token in lowercase`);
    must(!DISALLOWED_HEADERS.test(name), `the header ${name} is disallowed`);
    for (const { value } of entry.multiValue ?? [entry]) {
      must(!/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value), `the header ${name} has a control character`);
    }
  }
  for (const name of READ_ONLY_HEADERS[eventType] ?? []) {
    must(isSameJson(headers[name], before[name]), `the header ${name} is read-only`);
  }
}

function checkEntries(entries, field) {
  must(isObject(entries), `${field} must be an object`);
  for (const [name, entry] of Object.entries(entries)) {
    const values = isObject(entry) && entry.multiValue !== undefined ? [entry, ...entry.multiValue] : [entry];
    must(
      values.every((one) => isObject(one) && typeof one.value === 'string'),
      `${field}.${name} must be {value: "..."}`,
    );
  }
}

function loadFunctions(args) {
  const log = (message) => process.stderr.write(`${message}\n`);
  return Object.fromEntries(
    args.map((arg) => {
      const [eventType, path] = [arg.slice(0, arg.indexOf('=')), arg.slice(arg.indexOf('=') + 1)];
      return [eventType, new EdgeFunction(eventType, readFileSync(path, 'utf8'), log)];
    }),
  );
}

function answer(functions, line) {
  const message = JSON.parse(line);
  if (message.kvs) {
    for (const one of Object.values(functions)) one.setStore(message.kvs);
    return;
  }
  const one = Object.hasOwn(functions, message.run) ? functions[message.run] : null;
  const outcome = one ? one.run(message.event) : failed(502, `no function was loaded for ${message.run}`);
  process.stdout.write(`${JSON.stringify({ id: message.id, ...outcome })}\n`);
}

async function serve(args) {
  let functions;
  try {
    functions = loadFunctions(args);
  } catch (error) {
    process.stderr.write(`the edge functions can't be loaded: ${error.message}\n`);
    process.exitCode = 1;
    return;
  }
  process.stdout.on('error', () => process.exit(0)); // nobody listens any more
  // Not readline: it takes U+2028, which JSON has unescaped, for the end of a line.
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const chunk of process.stdin) {
    const lines = (rest + decoder.write(chunk)).split('\n');
    rest = lines.pop();
    for (const line of lines) answer(functions, line);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await serve(process.argv.slice(2));
