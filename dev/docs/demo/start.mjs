// Begin the demo: the recording answers, and the clock stands still at its time.

import { answering } from './answers.mjs';

const recorded = JSON.parse(document.getElementById('recording').textContent);
Date.now = () => recorded.now;
window.fetch = answering(recorded);
