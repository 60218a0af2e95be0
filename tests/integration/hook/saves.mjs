// Saves files as @actions/cache does, by the same SDK, but with the sizes and the waits that a test wants:
//
//   node saves.mjs '[{"key": "k", "file": "/a/file", "single": 100, "block": 10}]'
//
// Prints, for each, what went wrong, or null.
import { request } from 'node:http'
import { createRequire } from 'node:module'

const SERVICE = '/twirp/github.actions.results.api.v1.CacheService/'
const clients = createRequire(process.env.CLIENTS)
const { BlobClient } = clients('@azure/storage-blob')

function call(method, message) {
  return new Promise((resolve, reject) => {
    const url = new URL(SERVICE + method, process.env.ACTIONS_RESULTS_URL)
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${process.env.ACTIONS_RUNTIME_TOKEN}` }
    request(url, { method: 'POST', headers }, async (answer) => {
      const chunks = []
      for await (const chunk of answer) chunks.push(chunk)
      resolve(JSON.parse(Buffer.concat(chunks)))
    }).on('error', reject).end(JSON.stringify(message))
  })
}

async function save({ key, file, single, block }) {
  try {
    const created = await call('CreateCacheEntry', { key, version: 'a'.repeat(64) })
    if ('direct' in created) throw new Error('the client sees the offer')
    const options = { retryOptions: { retryDelayInMs: 20, maxRetryDelayInMs: 50 } }
    const client = new BlobClient(created.signed_upload_url, undefined, options).getBlockBlobClient()
    await client.uploadFile(file, { blockSize: block, concurrency: 4, maxSingleShotSize: single })
    return null
  } catch (error) {
    return `${error.statusCode ?? ''} ${error.message}`
  }
}

const results = []
for (const one of JSON.parse(process.argv[2])) results.push(await save(one))
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0))
