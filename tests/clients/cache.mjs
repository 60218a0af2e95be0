// One call of @actions/cache in a process of its own, as a step of a workflow makes it. The environment says where
// the cache is, and with which token (actions_cache.py sets it).
//
//   node cache.mjs '{"package": "@actions/cache", "operation": "restore", "paths": ["data"], "key": "k"}'
//
// Prints the client's own log, then one line of JSON: what the call returned, its seconds, its requests.
// Ends with 1 where the step, and so the job, would fail.
import diagnostics from 'node:diagnostics_channel'

const { package: packageName, operation, paths, key, restoreKeys = [], lookupOnly = false } = JSON.parse(process.argv[2])
const { saveCache, restoreCache } = await import(packageName)

const requests = []
diagnostics.subscribe('http.client.response.finish', ({ request, response }) => {
  const url = `${request.protocol}//${request.getHeader('host')}${request.path}`
  requests.push({ method: request.method, url, status: response.statusCode })
})

const operations = {
  save: () => saveCache(paths, key),
  restore: () => restoreCache(paths, key, restoreKeys, { lookupOnly })
}

const startedAt = performance.now()
const result = await operations[operation]()
const seconds = (performance.now() - startedAt) / 1000
// Actions exit like this too: idle connections would keep the process for seconds.
process.stdout.write(`\n${JSON.stringify({ result: result ?? null, seconds, requests })}\n`, () => process.exit(0))
