// Elements from data. Text always goes in as text: what stands in a log is written by strangers.

// What is not seen, or turns the text around it: controls but tab and newline, marks of direction, line separators
const UNSEEN = /[\0-\x08\v-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** The text with what is not seen as JSON would escape it. */
const visible = (value) =>
  String(value).replace(UNSEEN, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);

export const byId = (id) => document.getElementById(id);

/** An element with attributes (true: present, false or null: absent) and children (nodes or strings). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) attribute(element, name, value);
  element.append(...children.map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/** Set or remove one attribute, only when it changes. */
export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : visible(value));
}

/** Set the text, only when it changes: a selection the reader made survives. */
export function text(element, value) {
  const wanted = visible(value ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Make the children of `parent` match `items`, in order, keeping the element of each key. */
export function keyed(parent, items, key, create, update) {
  const have = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = have.get(name);
    have.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update?.(child, item);
  }
  for (const child of have.values()) child.remove();
}

/** A moment as a <time> in UTC, with the reader's own time in the title. */
export function setTime(element, iso, shown, title) {
  attribute(element, "datetime", iso);
  attribute(element, "title", title);
  text(element, shown);
}
