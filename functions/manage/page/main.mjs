// The page's entry point: sign people in, and show the view that the address names.

import * as api from './api.mjs';
import { h, say } from './dom.mjs';
import { overview } from './overview.mjs';
import { repository } from './repository.mjs';
import { route } from './route.mjs';
import { anyFailed, forget, whenSignedOut } from './section.mjs';

const main = document.getElementById('main');
const actions = document.getElementById('actions');
const about = document.getElementById('about');

let role = null;
let view = null;

const ROLES = { admin: 'Admin', 'read-only': 'Read-only' };

// The local run's token is its own; a deployed server's is in a secret.
const isLocal = () => /^(localhost|127\.0\.0\.1|\[::1\])$/.test(window.location.hostname);

function show({ focus = false } = {}) {
  const to = route();
  if (view?.adopt(to)) return;
  forget();
  view = to.id === null ? overview(to) : repository(to, role);
  main.replaceChildren(...view.elements);
  document.title = `${view.title} – Actions cache`;
  if (focus) {
    window.scrollTo(0, 0);
    main.querySelector('h1').focus({ preventScroll: true });
  }
}

function signedIn(who) {
  role = who.role;
  actions.hidden = false;
  about.hidden = false;
  document.getElementById('role').textContent = ROLES[role] ?? role;
  document.getElementById('release').textContent = (who.release ?? '').split('+').filter((part) => part !== 'unknown').join('+');
}

function askForToken(why = null) {
  role = null;
  view = null;
  forget();
  actions.hidden = true;
  about.hidden = true;
  document.title = 'Sign in – Actions cache';
  const failure = h('p', { class: 'notice bad', id: 'sign-in-error', role: 'alert', hidden: !why }, why);
  const token = h('input', {
    type: 'password',
    id: 'token',
    name: 'password',
    autocomplete: 'current-password',
    required: true,
    spellcheck: 'false',
    'aria-describedby': 'token-help sign-in-error',
  });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    failure.hidden = true;
    try {
      signedIn(await api.signIn(token.value.trim()));
      show({ focus: true });
    } catch (error) {
      failure.textContent = error.message;
      failure.hidden = false;
      token.setAttribute('aria-invalid', 'true');
      token.select();
    }
    button.disabled = false;
  };
  const command = isLocal()
    ? 'make token'
    : 'aws secretsmanager get-secret-value --secret-id <AdminSecretArn> --query SecretString --output text | jq -r .admin';
  main.replaceChildren(
    h(
      'form',
      { class: 'sign-in', onsubmit: submit, 'aria-labelledby': 'sign-in-title' },
      h('h1', { id: 'sign-in-title', tabindex: '-1' }, 'Sign in'),
      // Password managers want a name beside a password.
      h('input', { type: 'text', name: 'username', autocomplete: 'username', value: 'actions-cache', hidden: true, readonly: true }),
      h('label', { for: 'token' }, 'Token'),
      token,
      failure,
      button,
      h(
        'div',
        { class: 'muted', id: 'token-help' },
        h('p', {}, isLocal() ? 'The admin’s token, in a checkout:' : 'The admin’s token is in the secret that the stack’s output AdminSecretArn names:'),
        h('pre', { tabindex: '0', 'aria-label': 'Where it is' }, command),
        h('p', {}, 'The read-only token follows from it (docs/operate/management.md). A token is sent once, and not kept here.'),
      ),
    ),
  );
  token.focus();
}

async function start() {
  const who = await api.session().catch((error) => ({ error: error.message }));
  if (who.role) {
    signedIn(who);
    show();
  } else {
    askForToken(who.error);
  }
}

whenSignedOut((why) => { if (role) askForToken(why); });
window.addEventListener('hashchange', () => { if (role) show({ focus: true }); });
document.getElementById('refresh').addEventListener('click', async (event) => {
  const current = view;
  event.target.disabled = true;
  await current.again();
  event.target.disabled = false;
  if (view !== current) return;
  event.target.focus(); // which a disabled button has lost
  if (!anyFailed()) say('Refreshed');
});
document.getElementById('sign-out').addEventListener('click', async () => {
  try {
    await api.signOut();
    askForToken();
    say('Signed out');
  } catch (error) {
    say(error.message);
  }
});
document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault(); // the address's fragment names the view
  main.focus();
});
start();
