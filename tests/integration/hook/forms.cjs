// Requests for an artifact in every form that node takes, as an action's process makes them.
//
//   node forms.cjs [worker]    prints a line of JSON: what came of each form, by its name
const { Worker, isMainThread } = require('node:worker_threads')
const net = require('node:net')

const base = new URL(process.env.ACTIONS_RESULTS_URL)
const isTls = base.protocol === 'https:'
const node = isTls ? require('node:https') : require('node:http')
const { hostname, port, protocol } = base
const HEADERS = { Authorization: 'Bearer token', 'X-Repeated': ['a', 'b'] }

const at = (name) => `/twirp/github.actions.results.api.v1.ArtifactService/${name}?a=%2F..&b`
const to = (name) => ({ protocol, hostname, port, path: at(name), headers: HEADERS })
const url = (name) => new URL(at(name), base)
const kept = new node.Agent({ keepAlive: true })

const forms = {
  text: (name, hear) => node.request(`${base.origin}${at(name)}`, { headers: HEADERS }, hear),
  url: (name, hear) => node.request(url(name), { headers: HEADERS }, hear),
  options: (name, hear) => node.request(to(name), hear),
  host: (name, hear) => node.request({ ...to(name), hostname: undefined, host: hostname, protocol: undefined }, hear),
  capitals: (name, hear) => node.request({ ...to(name), hostname: hostname.toUpperCase(), method: 'get' }, hear),
  both: (name, hear) => node.request(url('overridden'), { path: at(name), headers: HEADERS }, hear),
  inherited: (name, hear) => node.request(Object.assign(Object.create({ port: 1 }), to(name)), hear),
  event: (name, hear) => node.request(to(name)).on('response', hear),
  set: (name, hear) => {
    const request = node.request({ ...to(name), headers: undefined }, hear)
    for (const [header, value] of Object.entries(HEADERS)) request.setHeader(header, value)
    return request
  },
  'host-header': (name, hear) => node.request({ ...to(name), headers: { ...HEADERS, HOST: base.host } }, hear),
  userinfo: (name, hear) => node.request(`${protocol}//our:password@${base.host}${at(name)}`, hear),
  get: (name, hear) => node.get(to(name), hear),
  'get-text': (name, hear) => node.get(`${base.origin}${at(name)}`, { headers: HEADERS }, hear),
  'get-url': (name, hear) => node.get(url(name), { headers: HEADERS }, hear),
  post: (name, hear) => {
    const request = node.request({ ...to(name), method: 'POST' }, hear)
    request.write('a body')
    return request
  },
  kept: (name, hear) => node.request({ ...to(name), agent: kept }, hear),
  'no-agent': (name, hear) => node.request({ ...to(name), agent: false }, hear),
  module: async (name, hear) => (await import(`node:${protocol.slice(0, -1)}`)).request(to(name), hear),
  'module-default': async (name, hear) => (await import(protocol.slice(0, -1))).default.get(to(name), hear),
  // These go to the server, which passes them on.
  'ours-list': (name, hear) => {
    const headers = Object.entries({ ...HEADERS, 'X-Repeated': 'a', Host: base.host }).flat()
    return node.request({ ...to(name), headers }, hear)
  },
  'ours-connection': (name, hear) => {
    const connect = () => isTls ? require('node:tls').connect({ host: hostname, port }) : net.connect(port, hostname)
    return node.request({ ...to(name), createConnection: connect }, hear)
  },
  'ours-fetch': async (name, hear) => hear({ statusCode: (await fetch(url(name), { headers: { authorization: 'Bearer token' } })).status })
}

async function ask(name) {
  try {
    return await new Promise((resolve, reject) => {
      const made = forms[name](name, (answer) => {
        answer.resume?.()
        resolve(answer.statusCode)
      })
      Promise.resolve(made).then((request) => request?.on?.('error', reject).end(), reject)
    })
  } catch (error) {
    return String(error)
  }
}

async function main() {
  const all = {}
  for (const name of Object.keys(forms)) all[name] = await ask(name)
  kept.destroy()
  console.log(JSON.stringify(all))
}

if (process.argv[2] === 'worker' && isMainThread) new Worker(__filename)
else main()
