// Names under blob.core.windows.net are this machine, in this process alone: `node --require`.
const dns = require('node:dns')

const lookUp = dns.lookup
dns.lookup = (name, ...rest) => lookUp(name.endsWith('.blob.core.windows.net') ? '127.0.0.1' : name, ...rest)
