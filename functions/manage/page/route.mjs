// The address names the view: #/?sort=entries, #/cost, #/repositories/ID/TAB?search=... A reload and the back button
// bring it back.

const segment = encodeURIComponent;

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // written by hand
  }
};

// Return the view's repository, null for the overview, and what of it the address names.
export function route() {
  const [path, ...rest] = window.location.hash.slice(1).split('?');
  const [, place = '', id, tab = 'entries'] = path.split('/');
  const query = new URLSearchParams(rest.join('?'));
  return place === 'repositories' && id ? { id: decoded(id), tab, query } : { id: null, place, query };
}

function withQuery(path, query) {
  const given = Object.entries(query)
    .flatMap(([name, value]) => [value].flat().map((single) => [name, single]))
    .filter(([, value]) => value);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export const overviewAt = (query = {}) => withQuery('#/', query);
export const repositoryAt = (id, tab = 'entries', query = {}) => withQuery(`#/repositories/${segment(id)}${tab === 'entries' ? '' : `/${tab}`}`, query);

// Put the address where it names what is shown now, without a new step for the back button.
export const stay = (address) => window.history.replaceState(null, '', address);
