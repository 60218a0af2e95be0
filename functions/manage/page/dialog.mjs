// One question at a time, in the browser's own modal dialog: it keeps the focus, and Escape means no.

const part = (name) => document.getElementById(name);

// Asks, and does it on yes. True once it is done; false when it was called off. A fault is told in the dialog.
export function confirm({ title, text, yes, action }) {
  const dialog = part('dialog');
  const fault = part('dialog-fault');
  const confirming = part('dialog-confirm');
  part('dialog-title').textContent = title;
  part('dialog-text').replaceChildren(...text);
  confirming.textContent = yes;
  confirming.disabled = false;
  fault.hidden = true;
  return new Promise((resolve) => {
    let done = false;
    part('dialog-cancel').onclick = () => dialog.close();
    confirming.onclick = async () => {
      confirming.disabled = true;
      fault.hidden = true;
      try {
        await action();
        done = true;
        dialog.close();
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
        confirming.disabled = false;
      }
    };
    dialog.onclose = () => resolve(done);
    dialog.showModal();
    part('dialog-cancel').focus();
  });
}
