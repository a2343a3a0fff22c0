/** The document's title: who is calling, or how many notes wait. */

const plain = document.title;
let unheard = 0;
let calling = "";

function show() {
  const count = unheard > 0 ? `(${unheard}) ` : "";
  document.title = calling ? `${calling} is calling` : count + plain;
}

/** @param {number} count of notes that wait */
export function showUnheard(count) {
  unheard = count;
  show();
}

/** @param {string} name of whoever rings; "" where nobody does */
export function showCalling(name) {
  calling = name;
  show();
}
