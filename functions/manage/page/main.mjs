// The page's entry point: sign people in, and show the view that the address names.

import * as api from './api.mjs';
import { h, say } from './dom.mjs';
import { overview } from './overview.mjs';
import { repository } from './repository.mjs';
import { whenSignedOut } from './section.mjs';

const main = document.getElementById('main');
const actions = document.getElementById('actions');

let role = null;
let view = null;

const ROLES = { admin: 'Admin', 'read-only': 'Read-only' };

// Parse the address, #/repositories/ID?search=..., from which a reload and the back button restore the view.
function route() {
  const [path, query] = window.location.hash.slice(1).split('?');
  const [, place, id] = path.split('/');
  return { place, id: id && decodeURIComponent(id), query: new URLSearchParams(query) };
}

function show({ focus = false } = {}) {
  const { place, id, query } = route();
  view = place === 'repositories' && id ? repository(id, query, role) : overview();
  main.replaceChildren(...view.elements);
  document.title = `${view.title} – Actions cache`;
  if (focus) main.querySelector('h1').focus();
}

function signedIn(as) {
  role = as;
  actions.hidden = false;
  document.getElementById('role').textContent = ROLES[role] ?? role;
}

function askForToken(why = null) {
  role = null;
  view = null;
  actions.hidden = true;
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
      signedIn((await api.signIn(token.value.trim())).role);
      show({ focus: true });
    } catch (error) {
      failure.textContent = error.message;
      failure.hidden = false;
      token.setAttribute('aria-invalid', 'true');
      token.select();
    }
    button.disabled = false;
  };
  main.replaceChildren(
    h(
      'form',
      { class: 'sign-in', onsubmit: submit, 'aria-labelledby': 'sign-in-title' },
      h('h1', { id: 'sign-in-title', tabindex: '-1' }, 'Sign in'),
      h('p', { class: 'muted', id: 'token-help' }, 'With the admin or the read-only token of this server’s admin secret. It is sent once, and not kept here.'),
      // Password managers want a name beside a password.
      h('input', { type: 'text', name: 'username', autocomplete: 'username', value: 'actions-cache', hidden: true, readonly: true }),
      h('label', { for: 'token' }, 'Token'),
      token,
      failure,
      button,
    ),
  );
  token.focus();
}

async function start() {
  const who = await api.session().catch((error) => ({ error: error.message }));
  if (who.role) {
    signedIn(who.role);
    show();
  } else {
    askForToken(who.error);
  }
}

whenSignedOut((why) => { if (role) askForToken(why); });
window.addEventListener('hashchange', () => { if (role) show({ focus: true }); });
document.getElementById('refresh').addEventListener('click', () => {
  view.again();
  say('Refreshed');
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
