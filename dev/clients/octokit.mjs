// Calls of GitHub's own client, in a process of its own.
//
//   node octokit.mjs '{"baseUrl": "http://...", "auth": "token", "calls": [["paginate", "getActionsCacheList", {...}]]}'
//
// Prints a line of JSON for each call: what it gave, or the status and message that it failed with.
import { Octokit } from '@octokit/rest'

const { baseUrl, auth, calls } = JSON.parse(process.argv[2])
const log = { debug() {}, info() {}, warn() {}, error() {} }
const octokit = new Octokit({ baseUrl, auth, log })

for (const [how, name, parameters] of calls) {
  const endpoint = octokit.rest.actions[name]
  try {
    const answer = how === 'paginate' ? { data: await octokit.paginate(endpoint, parameters) } : await endpoint(parameters)
    console.log(JSON.stringify({ status: answer.status, data: answer.data }))
  } catch (error) {
    console.log(JSON.stringify({ status: error.status, message: error.message }))
  }
}
