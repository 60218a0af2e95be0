// Ask one question at a time in the browser's own modal dialog, which keeps the focus and closes on Escape.

const part = (name) => document.getElementById(name);

// Ask, and run the action on yes. Resolves to true once it is done, and to false if the user cancels. The dialog shows
// the action's error and stays open; the action may say how far it is by the function that it is given.
export function confirm({ title, text, yes, action }) {
  const dialog = part('dialog');
  const failure = part('dialog-error');
  const confirming = part('dialog-confirm');
  part('dialog-title').textContent = title;
  part('dialog-text').replaceChildren(...text);
  confirming.textContent = yes;
  confirming.disabled = false;
  failure.hidden = true;
  const progress = part('dialog-progress');
  progress.textContent = '';
  return new Promise((resolve) => {
    let done = false;
    part('dialog-cancel').onclick = () => dialog.close();
    confirming.onclick = async () => {
      confirming.disabled = true;
      failure.hidden = true;
      try {
        await action((text) => { progress.textContent = text; });
        done = true;
        dialog.close();
      } catch (error) {
        progress.textContent = '';
        failure.textContent = error.message;
        failure.hidden = false;
        confirming.disabled = false;
      }
    };
    dialog.onclose = () => resolve(done);
    dialog.showModal();
    part('dialog-cancel').focus();
  });
}
