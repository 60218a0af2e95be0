// Loads the hook, and says whether anything changed, and how many ms it took. Runs on node 10.
const http = require('http')
const before = [http.request, http.get, require('https').request, JSON.stringify(process.env)]
const globals = Object.getOwnPropertySymbols(global).length
const began = process.hrtime()
require(process.env.HOOK)
const [seconds, nanoseconds] = process.hrtime(began)
const after = [http.request, http.get, require('https').request, JSON.stringify(process.env)]
const isSame = before.every((it, i) => it === after[i]) && globals === Object.getOwnPropertySymbols(global).length
console.log(JSON.stringify([isSame, seconds * 1e3 + nanoseconds / 1e6]))
