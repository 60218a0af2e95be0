// Prints where an action looks for the cache.
console.log(process.env.ACTIONS_RESULTS_URL)
