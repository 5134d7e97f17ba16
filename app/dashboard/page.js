// What all panels use to write into the page: nothing is touched that stays as it is.

export const byId = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A number into a `<data>`: as it came, for programs, and as people read it. */
export function setData(id, value, format) {
  const element = byId(id);
  const raw = value === null || value === undefined ? "" : String(value);
  if (element.value !== raw) element.value = raw;
  setText(element, format(value));
}

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Make `parent` hold exactly these rows of texts; the first cell of a row is its header. */
export function fillRows(parent, rows) {
  while (parent.children.length > rows.length) parent.lastElementChild.remove();
  rows.forEach((texts, index) => {
    let row = parent.children[index];
    if (!row) {
      row = make("tr", {}, make("th", { scope: "row" }), ...texts.slice(1).map(() => make("td")));
      parent.append(row);
    }
    texts.forEach((text, column) => setText(row.children[column], text));
  });
}

/** Say something once to those who listen; for changes of state, not for numbers. */
export function announce(text) {
  setText(byId("announcer"), text);
}
