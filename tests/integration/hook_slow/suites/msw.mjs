// msw replaces http's request and get, ClientRequest's sockets, and fetch.
import http from 'node:http'
import assert from 'node:assert'
import { http as on, HttpResponse } from 'msw'
import { setupServer } from 'msw/node'

const read = (url) => new Promise((resolve, reject) => http.get(url, (answer) => {
  let text = ''
  answer.on('data', (chunk) => { text += chunk }).on('end', () => resolve(`${answer.statusCode} ${text}`))
}).on('error', reject))

const ours = process.env.ACTIONS_RESULTS_URL
const server = setupServer(on.get('http://nothing.example/x', () => new HttpResponse('made up', { status: 201 })))
server.listen({ onUnhandledRequest: 'bypass' })
assert.equal(await read('http://nothing.example/x'), '201 made up')
assert.equal(await (await fetch('http://nothing.example/x')).text(), 'made up')
assert.equal(await read(new URL('/twirp/x', ours)), '200 {}')
server.close()
assert.equal(await read(new URL('/twirp/x', ours)), '200 {}')
console.log('well')
