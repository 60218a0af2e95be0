// One call of @actions/cache in a process of its own, as a step of a workflow makes it. The environment says where
// the cache is, and with which token (actions_cache.py sets it).
//
//   node cache.mjs '{"package": "@actions/cache", "operation": "restore", "paths": ["data"], "key": "k"}'
//
// Prints the client's own log, then one line of JSON: what the call returned, its seconds, its requests.
// Ends with 1 where the step, and so the job, would fail.
import diagnostics from 'node:diagnostics_channel'

const { package: packageName, operation, paths, key, restoreKeys = [], options } = JSON.parse(process.argv[2])
const { saveCache, restoreCache } = await import(packageName)

// What goes over the wire, without a hand on it. Seconds count from the call's start.
const startedAt = performance.now()
const seconds = () => (performance.now() - startedAt) / 1000
const requests = []
const beginnings = new WeakMap()
diagnostics.subscribe('http.client.request.start', ({ request }) => beginnings.set(request, seconds()))
diagnostics.subscribe('http.client.response.finish', ({ request, response }) => {
  const sent = {
    method: request.method,
    url: `${request.protocol}//${request.getHeader('host')}${request.path}`,
    status: response.statusCode,
    sent_bytes: Number(request.getHeader('content-length') ?? 0),
    received_bytes: Number(response.headers['content-length'] ?? 0),
    began: beginnings.get(request),
    ended: seconds()
  }
  requests.push(sent)
  response.once('end', () => { sent.ended = seconds() })
})

const operations = {
  save: () => saveCache(paths, key, options),
  restore: () => restoreCache(paths, key, restoreKeys, options)
}

const result = await operations[operation]()
// Actions exit like this too: idle connections would keep the process for seconds.
process.stdout.write(`\n${JSON.stringify({ result: result ?? null, seconds: seconds(), requests })}\n`, () => process.exit(0))
