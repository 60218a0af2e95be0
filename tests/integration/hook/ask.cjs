// One lookup, as an action's process: `node ask.cjs [method of CacheService]`. Prints the answer's status and body.
const [, , method = 'GetCacheEntryDownloadURL'] = process.argv
const path = `/twirp/github.actions.results.api.v1.CacheService/${method}`
const url = new URL(path, process.env.ACTIONS_RESULTS_URL)
const { request } = require(url.protocol === 'https:' ? 'https' : 'http')
const headers = { authorization: 'Bearer token', 'content-type': 'application/json' }
request(url, { method: 'POST', headers }, (answer) => {
  let body = ''
  answer.on('data', (chunk) => { body += chunk }).on('end', () => console.log(`${answer.statusCode} ${body}`))
}).on('error', ({ code }) => console.log(code)).end(JSON.stringify({ key: 'k' }))
