// Points every action of a runner at the cache server: NODE_OPTIONS=--require /path/hook.cjs in the runner's .env, and
// the server's URL in hook.json beside this file: {"url": "https://cache.example.com/"} (docs/use/runners.md).
//
// The runner sets ACTIONS_RESULTS_URL itself, after everything that a workflow or .env can say; this comes later, in
// the action's own process, and what that starts inherits it. It is loaded into each node of a job, an action's own old
// one too: nothing here is newer than node 10, and it must never throw, nor print. ACTIONS_CACHE_URL is what clients of
// the v1 API go by; it is replaced only where it is set.
//
// Where there is a hook.json, CUSTOM_ACTIONS_RESULTS_URL counts for nothing, even if the file is broken: a workflow's
// env: and a step's $GITHUB_ENV can set that variable, and the server that it names gets the job's token.
'use strict'

function settings() {
  const fs = require('fs')
  const file = require('path').join(__dirname, 'hook.json')
  try {
    fs.lstatSync(file)
  } catch (error) {
    if (error.code === 'ENOENT') return { url: process.env.CUSTOM_ACTIONS_RESULTS_URL }
    throw error
  }
  return JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''))
}

// Plain http shows the token to others. host:3000 is a URL too, of the protocol `host:`.
function leadsSafely(url) {
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback)
}

try {
  const given = settings().url
  const url = new URL(given)
  if (typeof given === 'string' && leadsSafely(url)) {
    for (const name of ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL']) {
      if (process.env[name]) process.env[name] = url.href
    }
  }
} catch (error) {
  // No URL, or not one: GitHub's own stays, and the doctor says so.
}
