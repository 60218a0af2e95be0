// Say on a new server how to point a runner at it, by the lines of docs/use/runners.md.

import { h } from './dom.mjs';

// Return the lines for a Linux machine; tests hold them equal to the documentation.
export function linesFor(url) {
  return [
    'install -m 0644 -o root -g root runners/hook.cjs runners/hook-requests.cjs /opt/',
    `echo '{"url": "${url}"}' > /opt/hook.json`,
    'cd /opt/actions-runner',
    "echo 'NODE_OPTIONS=--require /opt/hook.cjs' >> .env",
    'chown root:root .env && chmod 0644 .env /opt/hook.json',
    './svc.sh stop && ./svc.sh start',
  ];
}

export function welcome() {
  const url = `${window.location.origin}/`;
  return [
    h('p', {}, 'Nothing was saved yet. To point a Linux runner in /opt/actions-runner at this server, as root in a checkout:'),
    h('pre', { tabindex: '0', 'aria-label': 'Lines to run' }, linesFor(url).join('\n')),
    h('p', {}, 'Then ask whether its jobs will come here:'),
    h('pre', { tabindex: '0', 'aria-label': 'Line that asks' }, `make doctor ARGS="--url ${url} --runner /opt/actions-runner"`),
    h('p', { class: 'muted' }, 'The first job that saves an entry brings its repository here. Windows, macOS, containers and Kubernetes: docs/use/runners.md; without touching a runner: docs/use/workflow.md.'),
  ];
}
