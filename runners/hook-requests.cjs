// What the hook does beyond pointing an action at the cache server (hook.cjs), on node 20 and newer.
//
//   protect  Asks the server once a job whether it is there. If it isn't, or fails later, the cache's requests are
//            answered here: a restore is a miss, a save a warning. What isn't the cache's goes where the runner had
//            pointed it.
//   fast     Reads large archives by several connections, too: from presigned S3 URLs that this process's own lookups
//            got from the server, or from the parts that its download URL lists (docs/design/parts-protocol.md).
//
// Clients go on using node's http and https, whose `request` and `get` are wrapped; nothing else of node is changed. It
// connects to the server, to S3 by the URLs that the server gave, and to what the runner had set.
'use strict'

const http = require('node:http')
const https = require('node:https')
const fs = require('node:fs')
const path = require('node:path')
const { Socket } = require('node:net')
const { Duplex, addAbortSignal } = require('node:stream')
const { urlToHttpOptions } = require('node:url')

const VERSION = 1
const PARTS = 'application/vnd.actions-cache.parts.v1+json'
const CACHE_SERVICE = '/twirp/github.actions.results.api.v1.CacheService/'
const ARTIFACT_CACHE = '/_apis/artifactcache/'
const KEPT = 'ACTIONS_CACHE_HOOK_RESULTS_URL' // the variable that keeps the runner's own URL
const MIB = 1024 * 1024

const LOOK_MS = 4000 // longer: a server that is down costs more; shorter: a cold start, of 1 to 2 s, counts as down
const UP_MS = 60_000 // longer: a server that went down is noticed later; shorter: more looks
const LOOKUP_MS = 10_000 // silence after which a lookup or a reservation is given up
const SILENCE_MS = 30_000 // the same for other requests: a block list may take 20 s, a wait for a merge 25 s
const BAD_ANSWERS = 2 // in a row, until the server counts as down; clients try again after one
const MAX_ANSWER_BYTES = MIB // of answers that are read whole: a lookup's has some 2 KB, a list of parts 200 KB

const MIN_BYTES = 4 * MIB // in smaller archives, more connections take longer to open than they save
const MAX_RANGE_BYTES = 16 * MIB // longer: more memory; shorter: the time to each first byte weighs more
const WINDOW_BYTES = 64 * MIB // received, but not given to the client yet: bounds the memory
const STALL_MS = 2000 // silence after which a connection is replaced; the client gives up after 5 s without a byte
const PLAIN_MS = 3000 // of waiting for a byte, after which the rest is read the plain way, before the client gives up
const ETAG = /^"[!#-~]*"$/ // a strong one
const END_MARGIN_MS = 2000 // before a URL's end: Date is in whole seconds, and requests take time to arrive

let job // what this process knows; see start

// --------------------------------------------------------------------------------------------- is the server there?

/** Begins to act in this process. Returns whether the server is to be used; false leaves GitHub's own in place. */
exports.start = (server, leadsSafely, settings) => {
  const loaded = Symbol.for('actions-cache hook')
  if (globalThis[loaded]) return true
  globalThis[loaded] = true
  const { ACTIONS_RESULTS_URL: results, ACTIONS_CACHE_URL: cache } = process.env
  const isFirst = [results, cache].some((url) => url && url !== server.href)
  if (isFirst) process.env[KEPT] = results || '' // whatever stood there, a step may have set
  const kept = URL.canParse(process.env[KEPT]) && new URL(process.env[KEPT])
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
    downloads: new Set() // URLs that this process's own lookups got
  }
  if (job.isDown && isFirst && settings.when_down === 'github') return false
  for (const module of [http, https]) wrap(module)
  require('node:module').syncBuiltinESMExports()
  return true
}

/** Returns the path of the file that remembers it, among the job's temporary files, which the runner removes. */
const memory = () => process.env.RUNNER_TEMP && path.join(process.env.RUNNER_TEMP, '.actions-cache-hook')

function remembered() {
  try {
    const [, word, time] = /^(up|down) (\d{13})$/.exec(fs.readFileSync(memory(), 'latin1'))
    return word === 'down' || Math.abs(Date.now() - time) < UP_MS ? word : undefined
  } catch {
    return undefined
  }
}

function remember(word) {
  try {
    // Renamed into its place, so that it is never written through a link that a step has put there.
    const written = `${memory()}.${process.pid}`
    fs.writeFileSync(written, `${word} ${Date.now()}`, { flag: 'wx' })
    fs.renameSync(written, memory())
  } catch {
    // Without RUNNER_TEMP, each process looks for itself.
  }
}

/** Returns whether the server answers. One process of a job looks, and those that start meanwhile wait for it. */
function isThere(server, userAgent) {
  const lock = `${memory()}.lock`
  for (let waited = 0; ; waited += 20) {
    const known = remembered()
    if (known) return known === 'up'
    try {
      if (memory()) fs.closeSync(fs.openSync(lock, 'wx'))
      break
    } catch (error) {
      if (error.code !== 'EEXIST' || waited > LOOK_MS) break
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
  // In a process of its own, since this one's first line mustn't run before the answer is known.
  const options = { env: { ...process.env, NODE_OPTIONS: '' }, stdio: 'ignore', timeout: LOOK_MS, windowsHide: true }
  const args = [__filename, server.href, userAgent]
  const isUp = require('node:child_process').spawnSync(process.execPath, args, options).status === 0
  remember(isUp ? 'up' : 'down')
  fs.rmSync(lock, { force: true })
  return isUp
}

/** Ends this process with 0 if the server answers as a cache server of any version does, and with 1 otherwise. */
function look(server, userAgent) {
  const url = new URL('/runner/status', server)
  const isTls = url.protocol === 'https:'
  const fail = () => process.exit(1)
  const ask = (how) => (isTls ? https : http).get(url, { headers: { 'user-agent': userAgent }, ...how }, (answer) => {
    const { statusCode, headers } = answer
    const isRefused = statusCode >= 500 || statusCode === 401 || statusCode === 403
    process.exit(isRefused || !/^application\/json\b/.test(headers['content-type']) ? 1 : 0)
  }).on('error', fail)
  const proxy = proxyOf(url)
  if (!proxy) return ask()
  const to = `${url.hostname}:${url.port || (isTls ? 443 : 80)}`
  const headers = { host: to }
  if (proxy.username) headers['proxy-authorization'] = `Basic ${btoa(decodeURIComponent(`${proxy.username}:${proxy.password}`))}`
  const tunnel = { hostname: proxy.hostname, port: proxy.port, method: 'CONNECT', path: to, headers }
  const { request } = proxy.protocol === 'https:' ? https : http
  return request(tunnel).on('error', fail).on('connect', ({ statusCode }, socket) => {
    if (statusCode !== 200) fail()
    const servername = url.hostname
    ask({ createConnection: () => isTls ? require('node:tls').connect({ socket, servername }) : socket })
  }).end()
}

/** Returns the proxy by which @actions/http-client asks for a URL, if any. */
function proxyOf({ protocol, hostname, host }) {
  const { env } = process
  const names = [hostname.toUpperCase(), host.toUpperCase()]
  const isExcepted = (name) => name === '*' || names.some((own) => own === name || own.endsWith(`.${name.replace(/^\./, '')}`))
  const exceptions = (env.no_proxy || env.NO_PROXY || '').split(',').map((name) => name.trim().toUpperCase())
  if (/^(localhost|127\..*|\[::1\])$/.test(hostname) || exceptions.filter(Boolean).some(isExcepted)) return undefined
  const proxy = protocol === 'https:' ? env.https_proxy || env.HTTPS_PROXY : env.http_proxy || env.HTTP_PROXY
  return proxy ? new URL(/^https?:\/\//.test(proxy) ? proxy : `http://${proxy}`) : undefined
}

const hasSameProxy = (one, other) => proxyOf(one)?.href === proxyOf(other)?.href

// ----------------------------------------------------------------------------------------------- a client's requests

const originals = {} // `request` by protocol

function wrap(module) {
  const { protocol } = module.globalAgent
  const original = originals[protocol] = module.request
  module.request = function request(...args) {
    let taken
    try {
      taken = take(protocol, ...args)
    } catch {
      // Node's own error says what is wrong with the arguments.
    }
    return taken ?? original.apply(this, args)
  }
  module.get = function get(...args) {
    const request = module.request(...args)
    request.end()
    return request
  }
}

/** Returns the client's request if it is one that the hook sends, and undefined otherwise. Takes all that node takes. */
function take(protocol, ...args) {
  const isUrl = typeof args[0] === 'string' || (args[0].href && args[0].auth === undefined && args[0].path === undefined)
  const given = args.slice(isUrl ? 1 : 0).find((arg) => typeof arg === 'object')
  const options = { protocol, method: 'GET', path: '/', ...(isUrl && urlToHttpOptions(new URL(args[0]))), ...given }
  const callback = args.find((arg) => typeof arg === 'function')
  const host = options.hostname || options.host || 'localhost'
  if (host !== job.server.hostname && !job.downloads.size) return undefined
  if (options.protocol !== protocol || options.method === 'CONNECT' || options.socketPath || Array.isArray(options.headers)) return undefined
  const url = new URL(`${protocol}//${/^[^[].*:/.test(host) ? `[${host}]` : host}:${options.port || options.defaultPort || ''}${options.path}`)
  const isCaches = [CACHE_SERVICE, ARTIFACT_CACHE, '/blobs/'].some((root) => url.pathname.startsWith(root))
  if (url.origin !== job.server.origin || !isCaches) {
    if (isOwnDownload(options, url)) return readArchive(options, url, callback)
    return url.origin === job.server.origin ? passBy(options, callback) : undefined
  }
  return job.isDown ? answerHere(options, url, callback) : askServer(options, url, callback)
}

/** Sends what isn't the cache's where the runner had pointed it, unless the client's agent doesn't fit: then to us. */
function passBy(options, callback) {
  const to = job.runners
  if (!to || !hasSameProxy(to, job.server) || (to.protocol !== options.protocol && proxyOf(to))) return undefined
  const headers = Object.fromEntries(Object.entries(options.headers ?? {}).filter(([name]) => name.toLowerCase() !== 'host'))
  const { protocol, hostname, port } = urlToHttpOptions(to)
  const agent = protocol === options.protocol ? options.agent : undefined
  const there = { protocol, hostname, host: hostname, port, agent, headers, defaultPort: undefined, servername: undefined }
  return originals[protocol]({ ...options, ...there }, callback)
}

/** Returns the client's request, and what gives it an event; `handle` is asked first, and may keep events from it. */
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
  return { request, give }
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
  const parts = isOwnDownload(options, url) && { headers: { ...options.headers, accept: PARTS, 'user-agent': job.userAgent } }
  const silence = /\/(GetCacheEntryDownloadURL|CreateCacheEntry|caches?)$/.test(url.pathname) ? LOOKUP_MS : SILENCE_MS
  let isOver = false
  const end = (answer) => {
    isOver = true
    if (answer) give('response', answer)
  }
  const { request, give } = send({ ...options, ...parts }, callback, (event, value) => {
    if (isOver && event !== 'close') return event === 'response' || event === 'error' || event === 'timeout'
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
    readWhole(value, (body) => {
      if (isOver) return
      if (isDownload) return readParts(options, url, value.headers, body, end)
      const { statusCode, headers } = value
      if (!job.hasAnswered && (statusCode === 401 || statusCode === 403)) goDown(`it refused this job: ${statusCode}`)
      job.hasAnswered = true
      count(statusCode < 500 && !/^text\/html\b/.test(headers['content-type']), statusCode)
      learn(undefined, /"(?:signed_download_url|archiveLocation)":\s*("[^"]*")/.exec(body)?.[1])
      end(job.isDown ? substitute(options, url) : new Answer(statusCode, headers, body))
    })
    return true
  })
  let [sent, heardAt] = [0, Date.now()]
  const timer = setInterval(() => {
    const written = request.socket?.bytesWritten ?? 0
    if (written !== sent) [sent, heardAt] = [written, Date.now()]
    if (isOver || request.closed) return clearInterval(timer)
    if (Date.now() - heardAt < silence) return undefined
    goDown(`it brought nothing within ${silence / 1000} s`)
    end(substitute(options, url))
    request.destroy()
  }, 250)
  timer.unref()
  return request
}

/** Calls back with the body of an answer that isn't an archive; one that is too long, or broken off, counts as empty. */
function readWhole(message, callback) {
  const chunks = []
  let size = 0
  message.on('error', () => {}).on('data', (chunk) => {
    size += chunk.length
    if (size <= MAX_ANSWER_BYTES) chunks.push(chunk)
  }).on('close', () => callback(Buffer.concat(message.complete && size <= MAX_ANSWER_BYTES ? chunks : [])))
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
  if (!pathname.startsWith(ARTIFACT_CACHE)) return answer(method === 'GET' ? 500 : 400, 'xml', `<Error><Code>ServerDown</Code><Message>${why}</Message></Error>`)
  return method === 'GET' ? answer(204, 'json', '') : answer(400, 'json', JSON.stringify({ message: why }))
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
  let isTaken = false
  const { request, give } = send(options, callback, (event, message) => {
    if (isTaken) return event === 'error' || event === 'timeout'
    if (event !== 'response' || message.statusCode !== 200 || job.connections === 1) return false
    const { etag, date, 'content-length': size, 'content-encoding': encoding } = message.headers
    isTaken = size >= MIN_BYTES && ETAG.test(etag) && !encoding && timeLeft(date, url) > 0
    if (!isTaken) return false
    const answer = new Answer(200, message.headers)
    const parts = [{ url, etag, start: 0, end: Number(size) }]
    new Restore({ answer, parts, rest: { url, etag }, agent: options.agent, date, first: message })
    return give('response', answer)
  })
  return request
}

/** Ends a request for a list of parts by what is read from them, or the plain way where the list is of no use. */
function readParts(options, url, { date }, body, end) {
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
    new Restore({ answer, parts, rest: { url }, agent: options.agent, date })
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
  constructor({ answer, parts, rest, agent, date, first }) {
    const { connections } = job
    const size = parts.at(-1).end
    Object.assign(this, { answer, size, parts, rest, connections, clientsAgent: agent })
    const { Agent } = parts[0].url.protocol === 'https:' ? https : http
    const isPlain = !agent || agent.constructor === Agent // others lead by a proxy
    this.agent = isPlain ? new Agent({ ...agent?.options, keepAlive: true, maxSockets: 2 * connections }) : agent
    this.rangeBytes = Math.min(MAX_RANGE_BYTES, (2 * WINDOW_BYTES) / connections)
    this.ranges = [] // asked for, and not given whole yet, in order
    this.next = this.given = this.buffered = this.begun = 0
    this.latency = 100
    this.startedAt = this.shownAt = performance.now()
    this.slowedAt = -Infinity
    this.endsAt = this.startedAt + timeLeft(date, ...new Set([parts[0].url, rest.url]))
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
    const range = { at: this.next, start: this.next, end, chunks: [], tries: 0, heardAt: performance.now(), ...kind }
    this.ranges.push(range)
    this.next = end
    this.begun += 1
    return range
  }

  ask(range) {
    const { url, etag, start, end } = range.isRest ? { ...this.rest, start: 0, end: this.size } : range.part
    const [from, to] = [range.at - start, range.end - start]
    const askedAt = range.heardAt = performance.now()
    if (askedAt >= this.endsAt + (range.isRest ? END_MARGIN_MS : 0)) return this.readRest(range)
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
    if (taken.length) range.chunks.push(taken)
    range.at += taken.length
    this.buffered += taken.length
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
      const chunk = head.chunks.shift()
      if (chunk) {
        this.given += chunk.length
        this.buffered -= chunk.length
        this.answer.touch()
        if (this.given === this.size) return this.finish(chunk)
        this.isWanted = this.answer.push(chunk)
      } else if (head.at === head.end && (this.works || !head.isFirst)) {
        if (head.isFirst) this.close(head)
        this.ranges.shift()
      } else {
        break
      }
    }
    this.fill()
    this.balance()
  }

  /** Pauses connections while the window is full, but not the one whose bytes come next. */
  balance() {
    const isFull = this.buffered >= WINDOW_BYTES
    this.ranges.forEach((range, index) => {
      const isWaiting = isFull && (index > 0 || range.chunks.length > 0)
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
    setTimeout(again, Math.min(wait, STALL_MS)).unref()
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
    this.buffered = head.at - this.given
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

/** Returns whether more of a range is to come than comes until another one's first byte could; called on a Restore. */
function isBusy({ at, end, from, since }) {
  const speed = since ? (at - from) / (performance.now() - since + 1) : 0
  return end - at > speed * this.latency
}

if (require.main === module) look(new URL(process.argv[2]), process.argv[3])
