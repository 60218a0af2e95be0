// What the hook does beyond pointing an action at the cache server (hook.cjs), on node 20 and newer.
//
//   protect  Asks the server once a job whether it is there. If it isn't, or fails later, the cache's requests are
//            answered here: a restore is a miss, a save a warning. What isn't the cache's goes where the runner had
//            pointed it.
//   fast     Reads large archives by several connections, too: from presigned S3 URLs that this process's own lookups
//            got from the server, or from the parts that its download URL lists (docs/design/parts-protocol.md). Archives
//            are saved straight to S3, by presigned URLs that the server offers (docs/design/direct-uploads.md).
//
// Clients go on using node's http and https, whose `request` and `get` are wrapped; nothing else of node is changed. It
// connects to the server, to S3 by the URLs that the server gave, and to what the runner had set.
'use strict'

const http = require('node:http')
const https = require('node:https')
const fs = require('node:fs')
const path = require('node:path')
const { Socket, isIP } = require('node:net')
const { Duplex, addAbortSignal } = require('node:stream')
const { urlToHttpOptions } = require('node:url')

const VERSION = 1
const PARTS = 'application/vnd.actions-cache.parts.v1+json'
const DIRECT = 'application/vnd.actions-cache.direct.v1+json'
const CACHE_SERVICE = '/twirp/github.actions.results.api.v1.CacheService/'
const ARTIFACT_CACHE = '/_apis/artifactcache/'
const OWN_PATHS = /^\/+($|(_apis\/artifactcache|api|blobs|health|iam|manage|orgs|repos|repositories|runner)(\/|$))/i
const KEPT = 'ACTIONS_CACHE_HOOK_RESULTS_URL' // the variable that keeps the runner's own URL
const MIB = 1024 * 1024

const LOOK_MS = 4000 // longer: a server that is down costs more; shorter: a cold start, of 1 to 2 s, counts as down
const UP_MS = 60_000 // longer: a server that went down is noticed later; shorter: more looks
const LOOKUP_MS = 10_000 // silence after which a lookup or a reservation is given up
const SILENCE_MS = 30_000 // the same for other requests: a block list may take 20 s, a wait for a merge 25 s
const TICK_MS = 250
const BAD_ANSWERS = 2 // in a row, until the server counts as down; clients try again after one
const MAX_ANSWER_BYTES = MIB // of answers that are read whole: a lookup's has some 2 KB, a list of parts 200 KB

const MIN_BYTES = 4 * MIB // in smaller archives, more connections take longer to open than they save
const MAX_RANGE_BYTES = 16 * MIB // longer: more memory; shorter: the time to each first byte weighs more
const WINDOW_BYTES = 40 * MIB // received, but not given to the client yet: bounds the memory, to some 125 MiB more in all
const GIVEN_BYTES = MIB / 4 // of kept bytes, given to the client at a time; longer: memory that the process has to get anew; shorter: more writes
const STALL_MS = 2000 // silence after which a connection is replaced; the client gives up after 5 s without a byte
const PLAIN_MS = 3000 // of waiting for a byte, after which the rest is read the plain way, before the client gives up
const ETAG = /^"[!#-~]*"$/ // a strong one
const END_MARGIN_MS = 2000 // before a URL's end, half for the rest: Date is in whole seconds, and requests take time to arrive

const STORE_LOOK_MS = 2000 // longer: a save waits longer where S3 is out of reach; shorter: more slow connections count as that
const LEAST_PART_BYTES = 5_242_880 // S3's, for all parts but the last
const LARGEST_ARCHIVE_BYTES = 10_737_418_240 // that @actions/cache saves: there must be URLs for so many blocks
const LARGEST_PUT_BYTES = 5_368_709_120 // S3's
const BLOCK_ID = /^([!-~]{36})(\d{12})$/ // of Azure's SDK: what an upload's blocks share, and the index
const TEMPORARY = /<Code>(RequestTimeout|SlowDown|InternalError|ServiceUnavailable)<\/Code>/

let job // what this process knows; see start

// --------------------------------------------------------------------------------------------- is the server there?

/** Begins to act in this process. Returns whether the server is to be used; false leaves GitHub's own in place. */
exports.start = (...given) => {
  const decided = Symbol.for('actions-cache hook') // by this copy of the file, or another one
  if (globalThis[decided] === undefined) globalThis[decided] = begin(...given)
  return globalThis[decided]
}

function begin(server, leadsSafely, settings) {
  const { env } = process
  const isFirst = [env.ACTIONS_RESULTS_URL, env.ACTIONS_CACHE_URL].some((url) => url && url !== server.href)
  if (isFirst) env[KEPT] = sealed(env.ACTIONS_RESULTS_URL || '')
  const [, url] = (env[KEPT] ?? '').split(' ')
  const kept = URL.canParse(url) && env[KEPT] === sealed(url) && new URL(url)
  const userAgent = `actions-cache-hook/${VERSION} (${settings.mode})`
  job = {
    server,
    userAgent,
    runners: kept && leadsSafely(kept) && kept.origin !== server.origin ? kept : undefined,
    isFast: settings.mode === 'fast',
    connections: settings.connections > 0 ? Math.min(Math.ceil(settings.connections), 32) : 8,
    isDown: isFirst ? !isThere(server, userAgent) : remembered() === 'down',
    why: 'it was down when this job began',
    badAnswers: 0,
    downloads: new Set(), // URLs that this process's own lookups got
    uploads: new Map() // what the server offered to this process's own saves, by the path of the upload URL
  }
  if (job.isDown && isFirst && settings.when_down === 'github') return false
  for (const module of [http, https]) wrap(module)
  require('node:module').syncBuiltinESMExports()
  return true
}

/** Returns a URL with its seal. A step that lacks the job's token can set the variable, but can't make the seal. */
function sealed(url) {
  const seal = require('node:crypto').createHmac('sha256', process.env.ACTIONS_RUNTIME_TOKEN)
  return `${seal.update(url).digest('hex')} ${url}`
}

/** Returns the path of the file that remembers it, among the job's temporary files, which the runner removes. */
const memory = () => process.env.RUNNER_TEMP && path.join(process.env.RUNNER_TEMP, '.actions-cache-hook')

function remembered() {
  let file
  try {
    // Neither a link is followed, nor a pipe waited for, nor more read than is needed: steps can write there.
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants
    file = fs.openSync(memory(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    const bytes = Buffer.alloc(32)
    const [, word, time] = /^(up|down) (\d{13})$/.exec(bytes.latin1Slice(0, fs.readSync(file, bytes)))
    return word === 'down' || Math.abs(Date.now() - time) < UP_MS ? word : undefined
  } catch {
    return undefined
  } finally {
    if (file !== undefined) fs.closeSync(file)
  }
}

function remember(word) {
  if (!memory()) return
  try {
    // Renamed into its place, so that it is never written through a link that a step has put there.
    const written = `${memory()}.${process.pid}`
    fs.writeFileSync(written, `${word} ${Date.now()}`, { flag: 'wx' })
    fs.renameSync(written, memory())
  } catch {
    // Each process looks for itself then.
  }
}

/** Returns whether the server answers. One process of a job looks, and those that start meanwhile wait for it. */
function isThere(server, userAgent) {
  const lock = memory() && `${memory()}.lock`
  const until = Date.now() + 2 * LOOK_MS + 1000
  for (let isMine = !lock; !isMine;) {
    try {
      fs.closeSync(fs.openSync(lock, 'wx'))
      isMine = true
    } catch (error) {
      isMine = error.code !== 'EEXIST' || Date.now() > until
    }
    const known = remembered()
    if (known && isMine) unlock(lock)
    if (known) return known === 'up'
    if (!isMine) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
  const isUp = lookAside([__filename, server.href, userAgent])
  remember(isUp ? 'up' : 'down')
  if (lock) unlock(lock)
  return isUp
}

/**
 * Looks in a process of its own, since this one's first line mustn't run before the answer is known. It gets no token,
 * and with that no hook. Where it can't be started, or a busy machine doesn't let it, the server counts as up: what is
 * asked later is given up in time too.
 */
function lookAside(args) {
  // A program that has node in it would start as that program.
  if (!/^node/i.test(path.basename(process.execPath))) return true
  const env = { ...process.env, ACTIONS_RUNTIME_TOKEN: '' }
  const options = { env, stdio: 'ignore', timeout: 2 * LOOK_MS, windowsHide: true }
  const { status, error } = require('node:child_process').spawnSync(process.execPath, args, options)
  return Boolean(error) || status === 0
}

function unlock(lock) {
  try {
    fs.unlinkSync(lock)
  } catch {
    // Another process has done so, or a step has put something else there.
  }
}

/** Ends this process with 0 if the server answers as a cache server of any version does, and with 1 otherwise. */
function look(server, userAgent) {
  const url = new URL('/runner/status', server)
  const { hostname } = urlToHttpOptions(url)
  const isTls = url.protocol === 'https:'
  const fail = () => process.exit(1)
  // An exit would wait for a name that is being looked up.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), LOOK_MS)
  const hear = ({ statusCode, headers }) => {
    const isRefused = statusCode >= 500 || statusCode === 401 || statusCode === 403
    process.exit(isRefused || !/^application\/json\b/.test(headers['content-type']) ? 1 : 0)
  }
  const headers = { 'user-agent': userAgent }
  const ask = (way) => (isTls ? https : http).get(url, { headers, ...way }, hear).on('error', fail)
  const proxy = proxyOf(url)
  if (!proxy) return ask({ agent: false })
  const to = `${url.hostname}:${url.port || (isTls ? 443 : 80)}`
  const { auth, ...there } = urlToHttpOptions(proxy)
  const login = auth && { 'proxy-authorization': `Basic ${Buffer.from(auth).toString('base64')}` }
  const tunnel = { ...there, agent: false, method: 'CONNECT', path: to, headers: { host: to, ...login } }
  const { request } = proxy.protocol === 'https:' ? https : http
  return request(tunnel).on('error', fail).on('connect', (answer, socket) => {
    if (answer.statusCode !== 200) fail()
    const tls = { socket, host: hostname, servername: isIP(hostname) ? '' : hostname }
    ask({ createConnection: () => isTls ? require('node:tls').connect(tls) : socket })
  }).end()
}

/** Returns the proxy by which @actions/http-client asks for a URL, if any. */
function proxyOf({ protocol, hostname, port }) {
  const { env } = process
  const isTls = protocol === 'https:'
  const names = [hostname, `${hostname}:${port || (isTls ? 443 : 80)}`].map((name) => name.toUpperCase())
  const fits = (it) => it === '*' || names.some((name) => name === it || name.endsWith(`.${it.replace(/^\./, '')}`))
  const exceptions = (env.no_proxy || env.NO_PROXY || '').split(',').map((it) => it.trim().toUpperCase())
  if (/^(localhost|127\..*|\[::1\])$/.test(hostname) || exceptions.filter(Boolean).some(fits)) return undefined
  const given = (isTls ? env.https_proxy || env.HTTPS_PROXY : env.http_proxy || env.HTTP_PROXY) || ''
  const isWhole = URL.canParse(given) || /^https?:\/\//.test(given)
  const proxy = isWhole ? given : `http://${given}`
  return URL.canParse(proxy) && new URL(proxy).hostname ? new URL(proxy) : undefined
}

const hasSameProxy = (one, other) => proxyOf(one)?.href === proxyOf(other)?.href

// ----------------------------------------------------------------------------------------------- a client's requests

const originals = {} // `request` by protocol

function wrap(module) {
  const { protocol } = module.globalAgent
  const original = originals[protocol] = module.request
  const request = module.request = function request(...args) {
    let taken
    try {
      taken = take(protocol, ...args)
    } catch {
      // Node's own error says what is wrong with the arguments.
    }
    return taken ?? original.apply(this, args)
  }
  module.get = function get(...args) {
    const got = request.apply(this, args)
    got.end()
    return got
  }
}

/** Returns the client's request if it is one that the hook sends, and undefined otherwise. */
function take(protocol, ...args) {
  const [{ href, auth, path }] = args
  const isUrl = typeof args[0] === 'string' || (href && auth === undefined && path === undefined) // node's own rule
  const given = args.slice(isUrl ? 1 : 0).find((arg) => typeof arg === 'object')
  const options = { ...(isUrl && urlToHttpOptions(new URL(args[0]))), ...given }
  options.protocol ||= protocol
  options.path ||= '/'
  options.method = (options.method || 'GET').toUpperCase()
  if (options.protocol !== protocol || options.method === 'CONNECT') return undefined
  if (options.socketPath || Array.isArray(options.headers)) return undefined
  const callback = args.find((arg) => typeof arg === 'function')
  const host = options.hostname || options.host || 'localhost'
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${options.port || options.defaultPort || ''}`
  const url = new URL(`${protocol}//${authority}${options.path}`)
  if (url.origin === job.server.origin) {
    const isCaches = [CACHE_SERVICE, ARTIFACT_CACHE, '/blobs/'].some((root) => url.pathname.startsWith(root))
    if (isCaches && job.isDown) return answerHere(options, url, callback)
    if (isCaches) return putStraight(options, url, callback) ?? askServer(options, url, callback)
    if (!OWN_PATHS.test(url.pathname)) return passBy(options, callback)
  }
  return isOwnDownload(options, url) ? readArchive(options, url, callback) : undefined
}

/** Sends what isn't ours where the runner had pointed it, unless the client's own way there doesn't fit: then to us. */
function passBy(options, callback) {
  const to = job.runners
  if (!to || options.createConnection || !hasSameProxy(to, job.server)) return undefined
  if (to.protocol !== options.protocol && proxyOf(to)) return undefined
  const isHost = ([name]) => name.toLowerCase() === 'host'
  const headers = Object.fromEntries(Object.entries(options.headers ?? {}).filter((header) => !isHost(header)))
  const { protocol, hostname, port } = urlToHttpOptions(to)
  const agent = protocol === options.protocol ? options.agent : undefined
  // What the client says of our host, a name and password in its URL too, isn't GitHub's.
  const ours = { auth: undefined, defaultPort: undefined, servername: undefined }
  const there = { protocol, hostname, host: hostname, port, agent, headers }
  return originals[protocol]({ ...options, ...ours, ...there }, callback)
}

/**
 * Returns the client's request, what gives it an answer of ours, and what ends its connection. `handle` sees its events
 * first, and keeps from it those for which it returns true.
 */
function send(options, callback, handle) {
  const request = originals[options.protocol](options)
  if (callback) request.once('response', callback)
  const { emit, destroy } = request
  request.emit = (event, ...values) => handle(event, ...values) || emit.call(request, event, ...values)
  const give = (event, answer) => {
    // Whoever ends the request ends this answer.
    if (options.signal) addAbortSignal(options.signal, answer)
    request.destroy = (error) => destroy.call(request, answer.destroy(error) && error)
    return emit.call(request, event, answer)
  }
  return { request, give, drop: destroy.bind(request) }
}

/** An answer of the hook's own, which clients can't tell from node's; it reads by emitting `wanted`. */
class Answer extends http.IncomingMessage {
  constructor(statusCode, headers, body) {
    super(new Socket())
    const rawHeaders = Object.entries(headers).flat()
    const statusMessage = http.STATUS_CODES[statusCode]
    Object.assign(this, { httpVersion: '1.1', httpVersionMajor: 1, httpVersionMinor: 1, statusCode, statusMessage, headers, rawHeaders })
    this.touch()
    if (body) this.finish(body)
  }

  _read() {
    this.emit('wanted')
  }

  finish(chunk) {
    this.complete = true
    if (chunk.length) this.push(chunk)
    this.push(null)
  }

  /** Counts as activity of its connection: clients give up a download whose socket is idle. */
  touch() {
    this.touchedAt = performance.now()
    if (this.socket.timeout) this.socket.setTimeout(this.socket.timeout)
  }
}

// ----------------------------------------------------------------------------------------------- asking the server

function askServer(options, url, callback) {
  const isDownload = options.method === 'GET' && url.pathname.startsWith('/blobs/')
  const headers = { ...options.headers, accept: PARTS, 'user-agent': job.userAgent }
  const parts = isOwnDownload(options, url) && { headers }
  const isCreate = job.isFast && url.pathname === `${CACHE_SERVICE}CreateCacheEntry`
  const offer = isCreate && { headers: asking(options.headers) }
  const silence = /\/(GetCacheEntryDownloadURL|CreateCacheEntry|caches?)$/.test(url.pathname) ? LOOKUP_MS : SILENCE_MS
  const askedAt = performance.now()
  let [isOver, isHeard] = [false, false]
  const end = (answer) => {
    isOver = true
    if (answer) give('response', answer)
  }
  const { request, give, drop } = send({ ...options, ...parts, ...offer }, callback, (event, value) => {
    if (isOver || isHeard) return event === 'response' || event === 'error' || event === 'timeout'
    if (event === 'error' && !isDownload && value.code !== 'ABORT_ERR') {
      count(false, value.code || value.message)
      end(job.isDown && substitute(options, url))
      return job.isDown
    }
    if (event !== 'response') return false
    if (isDownload && value.headers['content-type'] !== PARTS) {
      end()
      learn(url, value.headers.location)
      return false
    }
    isHeard = true
    readWhole(value, (body) => {
      if (isOver) return
      if (isDownload) return readParts(options, url, { ...value.headers, askedAt }, body, end)
      const { statusCode, headers } = body ? value : BROKEN_OFF
      const isRefused = !job.hasAnswered && (statusCode === 401 || statusCode === 403)
      if (isRefused) goDown(`it refused this job: ${statusCode} ${reasonIn(body)}`)
      job.hasAnswered = true
      count(statusCode < 500 && !/^text\/html\b/.test(headers['content-type']), statusCode)
      learn(undefined, /"(?:signed_download_url|archiveLocation)":\s*("[^"]*")/.exec(body)?.[1])
      const answer = (bytes, more) => {
        end(job.isDown ? substitute(options, url) : new Answer(statusCode, { ...headers, ...more }, bytes))
      }
      if (!isCreate || statusCode !== 200 || !body) return answer(body ?? BROKEN_OFF.body)
      return takeOffer(body, options, (left) => answer(left, { 'content-length': `${left.length}` }))
    })
    return true
  })
  watch(request, silence, () => isOver, () => {
    goDown(`it brought nothing within ${silence / 1000} s`)
    end(substitute(options, url))
    drop()
  })
  return request
}

/** Calls `giveUp` once a request has neither sent nor brought anything for so many ms. */
function watch(request, silence, isOver, giveUp) {
  // By turns and not by the clock: a process that computed meanwhile hasn't heard yet what came.
  let [sent, waited] = [0, 0]
  const timer = setInterval(() => {
    if (isOver() || request.closed) return clearInterval(timer)
    const { bytesWritten = 0, _handle: handle } = request.socket ?? {}
    // Less what node has queued, which is a whole part if that is one write; a TLS connection's is its parent's.
    const written = bytesWritten - ((handle?._parent ?? handle)?.writeQueueSize ?? 0)
    waited = written !== sent || isQueued(request) ? 0 : waited + TICK_MS
    sent = written
    if (waited < silence) return undefined
    clearInterval(timer)
    return giveUp()
  }, TICK_MS)
  timer.unref()
}

/** Returns whether the client's agent hasn't begun a request yet, since others take all of its connections. */
const isQueued = (request) => Object.values(request.agent?.requests ?? {}).some((waiting) => waiting.includes?.(request))

const BROKEN_OFF = { statusCode: 503, headers: {}, body: Buffer.from('{"msg":"the answer broke off"}') }

/** Calls back with the body of an answer that isn't an archive, or with nothing if it is too long or breaks off. */
function readWhole(message, callback) {
  const chunks = []
  let size = 0
  message.on('error', () => {}).on('data', (chunk) => {
    size += chunk.length
    if (size <= MAX_ANSWER_BYTES) chunks.push(chunk)
  }).on('close', () => callback(message.complete && size <= MAX_ANSWER_BYTES ? Buffer.concat(chunks) : undefined))
}

/** Returns the server's own words, in one line: a second one could be a command to the runner. */
function reasonIn(body) {
  try {
    const { msg, message } = JSON.parse(body)
    return String(msg || message || '').replace(/\s+/g, ' ').slice(0, 300)
  } catch {
    return ''
  }
}

function count(isGood, why) {
  job.badAnswers = isGood ? 0 : job.badAnswers + 1
  if (job.badAnswers >= BAD_ANSWERS) goDown(`${BAD_ANSWERS} requests in a row failed, the last with ${why}`)
}

function goDown(why) {
  Object.assign(job, { isDown: true, why })
  remember('down')
}

/** Returns a request that is answered without a connection. */
function answerHere(options, url, callback) {
  const connection = new Duplex({ read() {}, write: (chunk, encoding, done) => done() })
  for (const name of ['setTimeout', 'setNoDelay', 'setKeepAlive', 'ref', 'unref']) connection[name] = () => connection
  const nowhere = { agent: undefined, createConnection: () => connection }
  const { request, give } = send({ ...options, ...nowhere }, callback, (event) => {
    if (event === 'finish') setImmediate(() => give('response', substitute(options, url)))
    return event === 'error'
  })
  return request
}

/** Returns the answer to one of the cache's requests while the server is down: a miss, or why nothing is saved. */
function substitute({ method }, { pathname }) {
  const why = `The cache server ${job.server.host} can't be used, so this job goes on without a cache: ${job.why}.`
  if (!job.hasSaidWhy) process.stdout.write(`${why}\n`)
  job.hasSaidWhy = true
  const answer = (status, type, body) => new Answer(status, { 'content-type': `application/${type}` }, Buffer.from(body))
  if (pathname.startsWith(CACHE_SERVICE)) return answer(200, 'json', JSON.stringify({ ok: false, message: why }))
  if (!pathname.startsWith(ARTIFACT_CACHE)) {
    const error = `<Error><Code>ServerDown</Code><Message>${why.replace(/[<>&]/g, ' ')}</Message></Error>`
    return answer(method === 'GET' ? 500 : 400, 'xml', error)
  }
  return method === 'GET' ? answer(204, 'json', '') : answer(400, 'json', JSON.stringify({ message: why }))
}

// ------------------------------------------------------------------------------------------------ saving an archive

// An archive goes one way as a whole. Which one is decided before its first byte: straight to S3 if S3 answered when the
// key was reserved, and the client uploads as expected; else to the server. To S3 go the bytes, their length and the
// headers that the URL was signed for, and nothing else that the client would send.

/** Returns the headers of a CreateCacheEntry that asks for the offer, too. */
function asking(headers = {}) {
  const name = Object.keys(headers).find((it) => it.toLowerCase() === 'accept') ?? 'accept'
  return { ...headers, [name]: `${headers[name] ?? 'application/json'}, ${DIRECT}` }
}

/**
 * Takes the server's offer out of its answer, and calls back with what is left for the client.
 *
 * The answer is held back until S3 has answered, so that the first request to upload can be decided on at once.
 */
function takeOffer(body, { agent }, done) {
  let answer, upload
  try {
    const { direct, ...others } = JSON.parse(body)
    if (!direct) return done(body)
    answer = Buffer.from(JSON.stringify(others))
    upload = readOffer(direct)
    if (!upload) return done(answer)
    const { pathname } = new URL(others.signed_upload_url)
    return lookAtStore(upload.look, agent, (isThere) => {
      if (isThere) job.uploads.set(pathname, upload)
      done(answer)
    })
  } catch {
    return done(answer ?? body)
  }
}

function readOffer({ version, look, blob, parts }) {
  const urls = [look, blob.url, parts.url].map((url) => new URL(url))
  const isOurs = ({ origin, protocol }) => origin === urls[0].origin && protocol === job.server.protocol
  const areSigned = parts.signatures.every((it) => /^[0-9a-f]{64}$/.test(it))
  if (version !== 1 || !urls.every(isOurs) || !areSigned || !hasSameProxy(urls[0], job.server)) return undefined
  return { look: urls[0], blob: { url: urls[1], headers: blob.headers }, parts: { url: parts.url, signatures: parts.signatures } }
}

/** Calls back with whether S3 can be reached, and takes these URLs from this address. */
function lookAtStore(url, agent, done) {
  const headers = { 'user-agent': job.userAgent }
  const request = originals[url.protocol]({ ...urlToHttpOptions(url), agent, headers })
  const finish = (isThere) => {
    clearTimeout(timer)
    request.destroy()
    if (done) done(isThere)
    done = undefined
  }
  const timer = setTimeout(finish, STORE_LOOK_MS, false)
  request.on('error', () => finish(false)).on('response', ({ statusCode }) => finish(statusCode === 200)).end()
}

/** Returns the client's request if it uploads straight to S3, and undefined otherwise. */
function putStraight(options, url, callback) {
  const upload = job.uploads.get(url.pathname)
  const comp = url.searchParams.get('comp')
  if (!upload || options.method !== 'PUT' || (comp !== null && comp !== 'block') || options.createConnection) return undefined
  const headers = Object.fromEntries(Object.entries(options.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]))
  const size = Number(headers['content-length'])
  const id = Buffer.from(url.searchParams.get('blockid') ?? '', 'base64').toString('latin1')
  const [, prefix, digits] = BLOCK_ID.exec(id) ?? []
  const index = Number(digits)
  if (!upload.way) Object.assign(upload, { way: wayOf(upload, comp, index, size, headers), prefix })
  if (upload.way === 'blob' && comp === null) return sendBlob(upload, options, size, callback)
  // A block that doesn't fit goes as without the hook; the server refuses a list of blocks that went two ways.
  const fits = upload.way === 'parts' && comp === 'block' && prefix === upload.prefix && size > 0
  const signature = fits && upload.parts.signatures[index]
  if (!signature) return undefined
  const to = new URL(`${upload.parts.url}&partNumber=${index + 1}&X-Amz-Signature=${signature}`)
  const handle = (status, body) => (status >= 500 || status === 429 || TEMPORARY.test(body) ? 503 : status)
  return sendStraight(options, to, { 'content-length': `${size}` }, callback, handle)
}

/** Returns the way that an archive goes, by the first request that uploads any of it. */
function wayOf({ parts }, comp, index, size, headers) {
  if (comp === null) {
    const isBlob = headers['x-ms-blob-type'] === 'BlockBlob' && size > 0 && size <= LARGEST_PUT_BYTES
    return isBlob ? 'blob' : 'edge'
  }
  // The first block is as long as all others but the last.
  const areParts = index === 0 && size >= LEAST_PART_BYTES && size * parts.signatures.length >= LARGEST_ARCHIVE_BYTES
  return areParts ? 'parts' : 'edge'
}

/** Sends a whole archive. If S3 doesn't take it, the client sends it again, and then as without the hook. */
function sendBlob(upload, options, size, callback) {
  const { url, headers } = upload.blob
  const fail = () => {
    upload.way = 'edge'
    return 503
  }
  return sendStraight(options, url, { ...headers, 'content-length': `${size}` }, callback, fail)
}

/**
 * Returns the client's request, which goes to S3 with these headers alone.
 *
 * The client takes S3's 200 as Azure's 201. `fail` is told of anything else, and returns the status that the client sees:
 * of 500 and 503, and of broken connections, it tries again.
 */
function sendStraight(options, to, headers, callback, fail) {
  const ours = { auth: undefined, defaultPort: undefined, servername: undefined, host: to.hostname }
  const there = { ...urlToHttpOptions(to), headers: { ...headers, 'user-agent': job.userAgent } }
  let [isOver, isRefused] = [false, false]
  const { request, give } = send({ ...options, ...ours, ...there, method: 'PUT' }, callback, (event, value) => {
    if (event === 'error' && !isOver) fail(0, '')
    if (event !== 'response') return isRefused && (event === 'error' || event === 'timeout')
    isOver = true
    if (value.statusCode === 200) {
      value.statusCode = 201
      value.headers['x-ms-request-id'] = value.headers['x-amz-request-id'] ?? ''
      return false
    }
    isRefused = true
    readWhole(value, (body = Buffer.alloc(0)) => {
      const status = fail(value.statusCode, body.toString('latin1'))
      give('response', new Answer(status, { 'content-type': 'application/xml', 'content-length': `${body.length}` }, body))
    })
    return true
  })
  watch(request, SILENCE_MS, () => isOver, () => {
    request.destroy(Object.assign(new Error(`S3 took nothing within ${SILENCE_MS / 1000} s`), { code: 'ECONNRESET' }))
  })
  return request
}

// ---------------------------------------------------------------------------------------------- restoring an archive

/** Remembers a URL, or one as JSON, to which a lookup or one of the downloads known led. */
function learn(from, to) {
  try {
    if (to && (!from || job.downloads.has(from.href))) job.downloads.add(new URL(from ? to : JSON.parse(to)).href)
  } catch {
    // Not a URL: the client will say so.
  }
}

/** Returns whether this is a plain GET of what one of this process's own lookups found. */
function isOwnDownload({ method, headers }, url) {
  const isPlain = method === 'GET' && !Object.keys(headers ?? {}).some((name) => /^(range|x-ms-range|if-.*)$/i.test(name))
  return job.isFast && isPlain && job.downloads.has(url.href)
}

/** Returns the client's request to S3; a large answer to it is read by further connections. */
function readArchive(options, url, callback) {
  const askedAt = performance.now()
  let isTaken = false
  const { request, give } = send(options, callback, (event, message) => {
    if (isTaken) return event === 'error' || event === 'timeout'
    if (event !== 'response' || message.statusCode !== 200 || job.connections === 1) return false
    const { etag, date, 'content-length': size, 'content-encoding': encoding } = message.headers
    isTaken = size >= MIN_BYTES && ETAG.test(etag) && !encoding && timeLeft(date, url) > 0
    if (!isTaken) return false
    const answer = new Answer(200, message.headers)
    const parts = [{ url, etag, start: 0, end: Number(size) }]
    new Restore({ answer, parts, rest: { url, etag }, agent: options.agent, date, askedAt, first: message })
    return give('response', answer)
  })
  return request
}

/** Ends a request for a list of parts by what is read from them, or the plain way where the list is of no use. */
function readParts(options, url, { date, askedAt }, body, end) {
  try {
    const { version, size, base, query, parts: listed } = JSON.parse(body)
    const store = new URL(base)
    let start = 0
    const parts = listed.map(([name, bytes, etag, signature]) => {
      const part = new URL(`${base}${name}?${query}&X-Amz-Signature=${signature}`)
      const isPart = Number.isSafeInteger(bytes) && bytes > 0 && ETAG.test(etag) && part.origin === store.origin
      if (!isPart) throw new TypeError(`no part: ${name}`)
      return { url: part, etag, start, end: (start += bytes) }
    })
    const isList = version === 1 && start === size && timeLeft(date, parts[0].url, url) > 0
    // The client's agent is of the server's protocol, and maybe by a proxy.
    if (!isList || store.protocol !== url.protocol || !hasSameProxy(store, url)) throw new TypeError('no list of parts')
    const answer = new Answer(200, { 'content-length': `${size}`, 'content-type': 'application/octet-stream' })
    new Restore({ answer, parts, rest: { url }, agent: options.agent, date, askedAt })
    end(answer)
  } catch {
    const request = originals[options.protocol](options).setTimeout(SILENCE_MS, () => request.destroy())
    request.on('error', () => request.res || end(new Answer(502, {}, Buffer.from('the connection broke off'))))
    request.on('response', (message) => {
      request.setTimeout(0)
      learn(url, message.headers.location)
      end(message)
    }).end()
  }
}

/** Returns for how many ms new requests to all of these URLs may begin, by their stores' clock; NaN if they don't say. */
function timeLeft(date, ...urls) {
  const ends = urls.map(({ searchParams: query }) => {
    if (query.has('se')) return query.get('se') * 1000
    const [, ...time] = /^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/.exec(query.get('X-Amz-Date')) ?? []
    return Date.parse(`${time[0]}-${time[1]}-${time[2]}:${time[3]}:${time[4]}`) + query.get('X-Amz-Expires') * 1000
  })
  return Math.min(...ends) - END_MARGIN_MS - Date.parse(date)
}

/**
 * Reads an archive by ranges side by side, and gives it to the client in order.
 *
 * A range whose connection fails is asked for again from its next byte on. When ranges don't work, or the URLs are about
 * to end, one open-ended request brings the rest, as it would have brought all of it.
 */
class Restore {
  constructor({ answer, parts, rest, agent, date, askedAt, first }) {
    const { connections } = job
    const size = parts.at(-1).end
    Object.assign(this, { answer, size, parts, rest, connections, clientsAgent: agent })
    const { Agent } = parts[0].url.protocol === 'https:' ? https : http
    const isPlain = !agent || agent.constructor === Agent // others lead by a proxy
    this.agent = isPlain ? new Agent({ ...agent?.options, keepAlive: true, maxSockets: 2 * connections }) : agent
    this.rangeBytes = Math.min(MAX_RANGE_BYTES, (2 * WINDOW_BYTES) / connections)
    this.pool = [] // blocks of memory that are free
    this.ranges = [] // asked for, and not given whole yet, in order
    this.next = this.given = this.begun = 0
    this.latency = 100
    this.startedAt = this.shownAt = performance.now()
    this.slowedAt = -Infinity
    this.endsAt = askedAt + timeLeft(date, ...new Set([parts[0].url, rest.url]))
    answer.on('wanted', () => this.give(true)).on('close', () => this.stop())
    if (first) this.follow(this.begin(this.length(), { part: parts[0], isFirst: true }), first)
    this.fill()
    this.timer = setInterval(() => this.check(performance.now()), 250)
  }

  /** Asks for further ranges while there is room, and for all of the rest when the URLs are about to end. */
  fill() {
    if (this.isStopped || this.next === this.size) return
    if (performance.now() >= this.endsAt) return this.ask(this.begin(this.size, { isRest: true }))
    const isIdle = () => this.ranges.filter(isBusy, this).length < this.connections
    while (this.next < this.size && this.buffered < WINDOW_BYTES && isIdle()) {
      const part = this.parts.find(({ end }) => this.next < end)
      this.ask(this.begin(Math.min(part.end, this.next + this.length()), { part }))
    }
  }

  /** Returns the next range's length: growing at first and shrinking at last, so that they don't all end at once. */
  length() {
    const growing = (this.rangeBytes * (this.begun + 1)) / this.connections
    const shrinking = (this.size - this.next) / this.connections
    return Math.ceil(Math.max(MIB, Math.min(this.rangeBytes, growing, shrinking)))
  }

  begin(end, kind) {
    const range = { at: this.next, start: this.next, end, early: new Early(this.pool), tries: 0, heardAt: performance.now(), ...kind }
    this.ranges.push(range)
    this.next = end
    this.begun += 1
    return range
  }

  ask(range) {
    const { url, etag, start, end } = range.isRest ? { ...this.rest, start: 0, end: this.size } : range.part
    const [from, to] = [range.at - start, range.end - start]
    const askedAt = range.heardAt = performance.now()
    if (askedAt >= this.endsAt + (range.isRest ? END_MARGIN_MS / 2 : 0)) return this.readRest(range)
    const headers = { 'user-agent': job.userAgent, range: `bytes=${from}-${range.isRest ? '' : to - 1}` }
    if (etag) headers['if-match'] = etag
    const request = range.source = originals[url.protocol]({ ...urlToHttpOptions(url), agent: this.agent, headers })
    request.on('error', () => this.replace(range, request)).on('response', (message) => {
      const { statusCode, headers: got } = message.on('error', () => {})
      const isRange = got['content-range'] === `bytes ${from}-${to - 1}/${end - start}` && got['content-length'] === `${to - from}`
      const isRight = statusCode === 206 && isRange && (!etag || got.etag === etag) && !got['content-encoding']
      if (range.source !== request) message.destroy()
      else if (!isRight) this.refuse(range, message)
      else this.follow(range, message, askedAt)
    }).end()
    return undefined
  }

  follow(range, message, askedAt) {
    Object.assign(range, { source: message, since: performance.now(), from: range.at, isWaiting: undefined })
    if (askedAt) this.latency += (range.since - askedAt - this.latency) / 4
    this.works ||= !range.isFirst
    message.on('error', () => {}).on('close', () => this.replace(range, message))
    message.on('data', (chunk) => range.source === message && this.receive(range, message, chunk))
    this.balance()
  }

  receive(range, message, chunk) {
    const taken = chunk.subarray(0, range.end - range.at)
    range.at += taken.length
    if (range === this.ranges[0] && this.isWanted && !range.early.size) this.deliver(taken)
    else range.early.push(taken)
    Object.assign(range, { heardAt: performance.now(), tries: 0 })
    if (taken.length < chunk.length) {
      // The client's own request brings more than its range. It waits until others work, or goes on if they don't.
      message.pause()
      message.unshift(chunk.subarray(taken.length))
    }
    this.give()
  }

  /** Gives the client what comes next, as far as it takes it. */
  give(isWanted = this.isWanted) {
    this.isWanted = isWanted
    while (this.isWanted && this.ranges.length && !this.isStopped) {
      const [head] = this.ranges
      if (head.early.size) {
        this.deliver(head.early.shift())
      } else if (head.at === head.end && (this.works || !head.isFirst)) {
        if (head.isFirst) this.close(head)
        this.ranges.shift().early.free()
      } else {
        break
      }
    }
    this.fill()
    this.balance()
  }

  deliver(chunk) {
    this.given += chunk.length
    this.answer.touch()
    if (this.given === this.size) this.finish(chunk)
    else this.isWanted = this.answer.push(chunk)
  }

  get buffered() {
    return this.ranges.reduce((sum, { early }) => sum + early.size, 0)
  }

  /** Pauses connections from when the window is full until a quarter is free, but not the one whose bytes come next. */
  balance() {
    const isFull = this.isFull = this.buffered >= (this.isFull ? 0.75 : 1) * WINDOW_BYTES
    this.ranges.forEach((range, index) => {
      const isWaiting = isFull && (index > 0 || range.early.size > 0)
      if (!range.source?.pause || range.isWaiting === isWaiting || range.at === range.end) return
      Object.assign(range, { isWaiting, heardAt: performance.now() })
      range.source[isWaiting ? 'pause' : 'resume']()
    })
    // Whether all wait for the first range's bytes, and since when.
    const [head, ...others] = this.ranges
    const areDone = (isFull || this.next === this.size) && others.every(({ at, end, isWaiting }) => isWaiting || at === end)
    if (!this.isWanted || !areDone) this.alone = undefined
    else if (this.alone?.head !== head) this.alone = { head, from: head.at, since: performance.now() }
  }

  // ------------------------------------------------------------------------------------------------ what goes wrong

  check(now) {
    const usualSpeed = (this.given + this.buffered) / (now - this.startedAt) / this.connections
    const { head, from, since } = this.alone ?? {}
    const isSlow = now - since > STALL_MS && (head.at - from) / (now - since) < usualSpeed / 4
    for (const range of [...this.ranges]) {
      const isSilent = range.source && !range.isWaiting && now - range.heardAt > STALL_MS
      const isBad = isSilent || (isSlow && range === head && !range.isRest)
      if (isBad && !range.isPlain && range.at < range.end && now < this.endsAt) this.replace(range, range.source)
    }
    if (!this.isWanted) this.answer.touch() // The client is slow, not the network.
    const [first] = this.ranges
    if (now - this.answer.touchedAt > PLAIN_MS && !first.isRest && !first.isPlain) this.readRest(first)
    if (now - this.shownAt >= 1000) this.show(now)
    this.fill()
  }

  /** Asks anew for what a range lacks, unless `source`, which broke off, isn't its connection any more. */
  replace(range, source, wait = range.tries * 150) {
    if (this.isStopped || range.source !== source || range.at === range.end) return
    this.close(range)
    range.tries += 1
    range.isFirst = range.isPlain = this.alone = undefined
    const again = () => this.isStopped || !this.ranges.includes(range) || this.ask(range)
    const most = range.isRest ? STALL_MS : Math.max(0, this.endsAt - performance.now()) // then the rest must begin
    setTimeout(again, Math.min(wait, STALL_MS, most)).unref()
  }

  /** Goes on after an answer that isn't the range. */
  refuse(range, message) {
    message.resume()
    const { statusCode, headers: { location } } = message
    const { source } = range
    const to = statusCode === 302 && URL.canParse(location) && new URL(location)
    if (range.isRest && to.protocol === this.rest.url.protocol && !this.wasRedirected) {
      this.wasRedirected = true
      this.rest = { url: to }
      return this.ask(range)
    }
    if (![429, 500, 502, 503, 504].includes(statusCode)) return this.readRest(range)
    if (performance.now() - this.slowedAt > 500) {
      this.slowedAt = performance.now()
      this.connections = Math.ceil(this.connections / 2)
      this.rangeBytes = Math.min(WINDOW_BYTES, this.rangeBytes * 2)
    }
    return this.replace(range, source, 2 ** range.tries * 100 * (1 + Math.random()))
  }

  /** Reads the rest the plain way, from the first byte on that isn't there: by the client's own request if it can. */
  readRest(range) {
    const [head, ...others] = this.ranges
    if (range.isRest) return this.answer.destroy(Object.assign(new Error('aborted'), { code: 'ECONNRESET' }))
    for (const other of others) this.close(other)
    this.ranges = [head]
    if (head.isFirst && !head.source.destroyed) {
      head.isPlain = true
      head.end = this.next = this.size
      head.source.resume()
    } else {
      this.close(head)
      head.isFirst = false
      head.end = this.next = head.at
      this.ask(this.begin(this.size, { isRest: true }))
    }
    return this.give()
  }

  // ---------------------------------------------------------------------------------------------------------- the end

  close(range) {
    const { source } = range
    range.source = undefined
    source?.destroy()
  }

  finish(chunk) {
    const now = performance.now()
    const [megabytes, seconds] = [(this.size / 1e6).toFixed(1), ((now - this.startedAt) / 1000).toFixed(1)]
    this.show(now)
    process.stdout.write(`Read ${megabytes} MB in ${seconds} s by ${job.connections} connections\n`)
    this.answer.finish(chunk)
    this.stop()
  }

  show(now) {
    this.shownAt = now
    const speed = this.given / MIB / ((now - this.startedAt) / 1000)
    const percent = ((100 * this.given) / this.size).toFixed(1)
    process.stdout.write(`Received ${this.given} of ${this.size} (${percent}%), ${speed.toFixed(1)} MBs/sec\n`)
  }

  stop() {
    this.isStopped = true
    clearInterval(this.timer)
    for (const range of this.ranges) this.close(range)
    this.answer.socket.destroy() // nothing times out any more
    if (this.agent !== this.clientsAgent) this.agent.destroy()
  }
}

/** Holds bytes that came before their turn, in blocks that are used again; else collecting them costs the most. */
class Early {
  constructor(pool) {
    Object.assign(this, { pool, blocks: [], start: 0, end: 0 })
  }

  get size() {
    return this.end - this.start
  }

  push(bytes) {
    for (let at = 0, copied; at < bytes.length; at += copied) {
      if (this.end % MIB === 0) this.blocks.push(this.pool.pop() ?? Buffer.from(new SharedArrayBuffer(MIB)))
      copied = bytes.copy(this.blocks.at(-1), this.end % MIB, at)
      this.end += copied
    }
  }

  shift() {
    const from = this.start % MIB
    const bytes = Buffer.from(this.blocks[0].subarray(from, from + Math.min(this.size, GIVEN_BYTES)))
    this.start += bytes.length
    if (this.start % MIB === 0) this.pool.push(this.blocks.shift())
    return bytes
  }

  free() {
    this.pool.push(...this.blocks)
  }
}

/** Returns whether more of a range is to come than comes until another one's first byte could; called on a Restore. */
function isBusy({ at, end, from, since }) {
  const speed = since ? (at - from) / (performance.now() - since + 1) : 0
  return end - at > speed * this.latency
}

if (require.main === module) look(new URL(process.argv[2]), process.argv[3])
