// Points every action of a runner at the cache server: NODE_OPTIONS=--require /path/hook.cjs, and the server's URL in
// CUSTOM_ACTIONS_RESULTS_URL, both in the runner's .env (docs/runners.md).
//
// The runner sets ACTIONS_RESULTS_URL itself, after everything that a workflow or .env can say; this comes later, in
// the action's own process, and what that starts inherits it. It is loaded into each node of a job, so it must never
// throw, nor print. ACTIONS_CACHE_URL is what clients of the v1 API go by; it is replaced only where it is set.
'use strict'

const { CUSTOM_ACTIONS_RESULTS_URL: url } = process.env
let base = null
try {
  const { href, protocol } = new URL(url)
  // host:3000 is a URL too, of the protocol `host:`.
  if (protocol === 'https:' || protocol === 'http:') base = href
} catch {
  // Not set, or not a URL: GitHub's own stays, and the doctor says so.
}
for (const name of ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL']) {
  if (base !== null && process.env[name]) process.env[name] = base
}
