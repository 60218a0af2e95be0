// What jest runs: http as a module that a test mocks, spies on, and uses.
const http = require('node:http')

const read = (url) => new Promise((resolve, reject) => http.get(url, (answer) => {
  answer.resume().on('end', () => resolve(answer.statusCode))
}).on('error', reject))

test('a server of its own answers', async () => {
  const server = http.createServer((request, answer) => answer.end('x'))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  expect(await read(`http://127.0.0.1:${server.address().port}/`)).toBe(200)
  server.close()
})

test('a spy on request sees request, and not get', () => {
  const spy = jest.spyOn(http, 'request').mockImplementation(() => 'a spy')
  expect(http.request('http://nothing.example/')).toBe('a spy')
  http.get('http://127.0.0.1:1/').on('error', () => {})
  expect(spy).toHaveBeenCalledTimes(1)
  spy.mockRestore()
})

test('what is no cache request goes to GitHub', async () => {
  expect(await read(new URL('/twirp/x', process.env.ACTIONS_RESULTS_URL))).toBe(200)
})
