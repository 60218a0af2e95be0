// A job's process that looks an entry up and downloads it, both by @actions/cache's own functions, and says what that took.
//
//   node download.mjs '{"package": "@actions/cache", "key": "k", "version": "aaaa", "path": "archive"}'
//   node download.mjs '{"package": "@actions/cache", "url": "http://...", "path": "archive"}'  without the lookup
//
// Prints a line of JSON: the seconds from the download's request to its last byte, the memory of this process before it
// and at most, and the digest of what came.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'

const { package: name, url, key, version, path } = JSON.parse(process.argv[2])
const internal = new URL(`node_modules/${name}/lib/internal/`, import.meta.url)
const { internalCacheTwirpClient } = await import(new URL('shared/cacheTwirpClient.js', internal))
const { downloadCacheHttpClient } = await import(new URL('downloadUtils.js', internal))

const lookUp = () => internalCacheTwirpClient().GetCacheEntryDownloadURL({ key, restoreKeys: [], version })
const { ok, signedDownloadUrl } = url ? { ok: true, signedDownloadUrl: url } : await lookUp()
if (!ok) throw new Error(`no entry has the key ${key}`)

const memory = () => process.memoryUsage.rss()
const before = memory()
let most = before
const watch = setInterval(() => { most = Math.max(most, memory()) }, 10)
const startedAt = performance.now()
await downloadCacheHttpClient(signedDownloadUrl, path)
const seconds = (performance.now() - startedAt) / 1000
clearInterval(watch)

const hash = createHash('sha256')
await pipeline(createReadStream(path), hash)
process.stdout.write(`\n${JSON.stringify({ seconds, before, most, sha256: hash.digest('hex') })}\n`, () => process.exit(0))
