// Points every action of a runner at the cache server: NODE_OPTIONS=--require /path/hook.cjs in the runner's .env, and
// in hook.json beside this file (docs/use/runners.md):
//
//   {"url": "https://cache.example.com/", "mode": "fast", "connections": 8, "when_down": "miss"}
//
// The runner sets ACTIONS_RESULTS_URL itself, after everything that a workflow or .env can say; this comes later, in
// the action's own process, and what that starts inherits it. ACTIONS_CACHE_URL is what clients of the v1 API go by.
// The mode `point` is this file alone. `protect` and `fast` load hook-requests.cjs too, if it is there.
//
// This is loaded into each node process of a job, an action's own old one too: nothing here is newer than node 10, and
// it must never throw, nor print. Where there is no action's token, it does nothing.
//
// Where there is a hook.json, CUSTOM_ACTIONS_RESULTS_URL counts for nothing, even if the file is broken: a workflow's
// env: and a step's $GITHUB_ENV can set that variable, and the server that it names gets the job's token.
'use strict'

const VARIABLES = ['ACTIONS_RESULTS_URL', 'ACTIONS_CACHE_URL']
const OLDEST_NODE = 20 // that hook-requests.cjs runs on; actions bring their own, and older ones are only pointed

function readSettings() {
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

// Returns whether the server is to be used: false if it is down, and the job is to use GitHub's own cache then.
function startModes(url, settings) {
  const isOld = parseInt(process.versions.node, 10) < OLDEST_NODE
  const mode = settings.mode === undefined ? 'fast' : settings.mode
  if (isOld || (mode !== 'protect' && mode !== 'fast')) return true
  try {
    return require('./hook-requests.cjs').start(url, leadsSafely, Object.assign({}, settings, { mode }))
  } catch (error) {
    // The file isn't there, or fails: then the server is used as by `point`.
    return true
  }
}

try {
  const isAction = process.env.ACTIONS_RUNTIME_TOKEN && VARIABLES.some((name) => process.env[name])
  if (isAction) {
    const settings = readSettings()
    const url = new URL(settings.url)
    if (typeof settings.url === 'string' && leadsSafely(url) && startModes(url, settings)) {
      for (const name of VARIABLES) if (process.env[name]) process.env[name] = url.href
    }
  }
} catch (error) {
  // No URL, or not one: GitHub's own stays, and the doctor says so.
}
