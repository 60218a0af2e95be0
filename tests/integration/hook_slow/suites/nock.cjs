// nock replaces http's request and get; some hosts it answers for, others it lets through.
const http = require('node:http')
const https = require('node:https')
const assert = require('node:assert')
const nock = require('nock')

const read = (module, url) => new Promise((resolve, reject) => module.get(url, (answer) => {
  let text = ''
  answer.on('data', (chunk) => { text += chunk }).on('end', () => resolve(`${answer.statusCode} ${text}`))
}).on('error', reject))

async function main() {
  const ours = process.env.ACTIONS_RESULTS_URL
  nock('https://nothing.example').get('/x').reply(201, 'made up')
  nock(new URL(ours).origin).get('/blobs/mocked').reply(202, 'made up too')
  assert.equal(await read(https, 'https://nothing.example/x'), '201 made up')
  assert.equal(await read(http, new URL('/blobs/mocked', ours)), '202 made up too')
  nock.cleanAll()
  nock.restore()
  assert.equal(await read(http, new URL('/twirp/x', ours)), '200 {}')
  console.log('well')
}
main()
