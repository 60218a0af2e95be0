// Downloads many archives in one process, as a runner's hook sees it: a lookup each, then @actions/cache's own download.
//
//   node --require hook.cjs hooked_downloads.mjs cases.json results.json
//
// cases.json: {"server", "modules": {"cache": "…/downloadUtils.js"}, "directory", "at_once", "cases": [{"name", "by"}]}.
// `by` names one of the modules, or a way of reading by hand (byHand). results.json has a result for each case: the
// bytes' sha256 and their number, or the error, and the milliseconds; and what the process was left with.
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const [casesFile, resultsFile] = process.argv.slice(2)
const { server, modules, directory, at_once: atOnce, cases } = JSON.parse(readFileSync(casesFile, 'utf8'))
const CLIENTS_SILENCE_MS = 5000
const HANGS_MS = 30_000

const unhandled = []
for (const event of ['uncaughtException', 'unhandledRejection']) process.on(event, (error) => unhandled.push(`${error?.stack}`))

let most = 0
setInterval(() => { most = Math.max(most, process.memoryUsage.rss()) }, 20).unref()

async function lookUp(key) {
  const url = `${server}/twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL`
  const body = await new Promise((resolve, reject) => {
    const request = http.request(url, { method: 'POST' }, async (message) => {
      const chunks = []
      for await (const chunk of message) chunks.push(chunk)
      resolve(JSON.parse(Buffer.concat(chunks)))
    })
    request.on('error', reject).end(JSON.stringify({ key }))
  })
  return body.signed_download_url
}

const get = (url, options = {}) => new Promise((resolve, reject) => {
  const request = http.get(url, options, (message) => {
    message.socket.setTimeout(CLIENTS_SILENCE_MS, () => message.destroy())
    resolve({ request, message })
  })
  request.on('error', reject)
})

async function read(message, hash) {
  let bytes = 0
  for await (const chunk of message) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return bytes
}

const byHand = {
  // A disk that takes nothing for longer than the client waits for the network.
  async slowDisk(url, hash) {
    const { message } = await get(url)
    message.pause()
    await sleep(CLIENTS_SILENCE_MS + 3000)
    return read(message, hash)
  },
  // The same, after all but the last bytes.
  async slowDiskAtTheEnd(url, hash) {
    const { message } = await get(url)
    let [bytes, isLate] = [0, false]
    message.on('data', async (chunk) => {
      hash.update(chunk)
      bytes += chunk.length
      if (bytes < Number(message.headers['content-length']) - 66_000 || isLate) return
      isLate = true
      message.pause()
      await sleep(CLIENTS_SILENCE_MS + 3000)
      message.resume()
    })
    await new Promise((resolve, reject) => message.on('end', resolve).on('error', reject))
    return bytes
  },
  // Slower than the network all the time.
  async slowly(url, hash) {
    const { message } = await get(url)
    let bytes = 0
    for await (const chunk of message) {
      hash.update(chunk)
      bytes += chunk.length
      await sleep(chunk.length / 20_000)
    }
    return bytes
  },
  async quickly(url, hash) {
    const { message } = await get(url)
    return read(message, hash)
  },
  async byItsRange(url, hash) {
    const { message } = await get(url, { headers: { range: 'bytes=0-' } })
    return read(message, hash)
  },
  async destroysMessage(url) {
    const { message } = await get(url)
    message.once('data', () => message.destroy())
    return new Promise((resolve, reject) => message.on('error', reject).on('close', () => resolve(0)))
  },
  async destroysRequest(url) {
    const { request, message } = await get(url)
    message.once('data', () => request.destroy())
    return new Promise((resolve, reject) => message.on('error', reject).on('close', () => resolve(0)))
  },
  async aborts(url) {
    const controller = new AbortController()
    const { message } = await get(url, { signal: controller.signal })
    message.once('data', () => controller.abort())
    return new Promise((resolve, reject) => message.on('error', reject).on('close', () => resolve(0)))
  }
}

async function download({ name, by }) {
  const url = await lookUp(name)
  const hash = createHash('sha256')
  if (byHand[by]) return { bytes: await byHand[by](url, hash), sha256: hash.digest('hex') }
  const file = path.join(directory, name)
  const { downloadCacheHttpClient } = await import(modules[by])
  await downloadCacheHttpClient(url, file)
  return { bytes: await read(createReadStream(file), hash), sha256: hash.digest('hex') }
}

// Loading them takes long, and nothing is heard from the network meanwhile.
if (cases.some(({ by }) => modules[by])) await Promise.all(Object.values(modules).map((module) => import(module)))

const results = {}
const waiting = [...cases]
async function work() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const startedAt = performance.now()
    const hanging = new AbortController()
    const result = await Promise.race([
      download(next).catch((error) => ({ error: `${error.message}` })),
      sleep(HANGS_MS, { error: 'hangs' }, hanging).catch(() => undefined)
    ])
    hanging.abort()
    results[next.name] = { ...result, milliseconds: performance.now() - startedAt }
  }
}
await Promise.all(Array.from({ length: atOnce }, work))

// Connections that were just closed are gone after some turns of the loop.
await sleep(300)
const left = process.getActiveResourcesInfo().filter((name) => /^(Timeout|Immediate|TCP|TLS|HTTP|FSReq)/i.test(name))
writeFileSync(resultsFile, JSON.stringify({ results, unhandled, left, most }))
process.exit()
