// Sends that take long, as an action's process: `node sends.cjs NAME`. Prints each answer's status, in order of arrival.
const base = new URL(process.env.ACTIONS_RESULTS_URL)
const node = require(base.protocol === 'https:' ? 'https' : 'http')
const lookup = '/twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL'
const part = '/blobs/a/b?key=k&comp=block'

function send(name, method, path, body, options) {
  const request = node.request(new URL(path, base), { method, ...options }, (answer) => {
    let text = ''
    answer.on('data', (chunk) => { text += chunk }).on('end', () => console.log(name, answer.statusCode, text))
  })
  return request.on('error', ({ code }) => console.log(name, code)).end(body)
}

const sends = {
  slow: () => send('slow', 'PUT', part, Buffer.alloc(24e6)),
  queued: () => {
    const agent = new node.Agent({ keepAlive: true, maxSockets: 1 })
    send('slow', 'PUT', part, Buffer.alloc(24e6), { agent })
    send('queued', 'POST', lookup, '{"key": "k"}', { agent })
  },
  busy: () => {
    send('busy', 'POST', lookup, '{"key": "k"}')
    setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500), 100)
  },
  again: () => send('again', 'POST', lookup, '{"key": "k"}').on('close', () => {
    send('again', 'POST', lookup, '{"key": "k"}')
  }),
  many: () => {
    const agent = new node.Agent({ keepAlive: true, maxSockets: 3 })
    for (let i = 0; i < 9; i += 1) send('many', 'PUT', part, Buffer.alloc(1e5), { agent })
    setTimeout(() => agent.destroy(), 2000).unref()
  }
}
sends[process.argv[2]]()
