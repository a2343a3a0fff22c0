/** Small pieces of page: elements by id, elements from data, icons and avatars. */

/**
 * The element with this id; the page is broken without it.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html lacks #${id}`);
  return /** @type {T} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string|boolean|((event: Event) => void)>} [attributes] `on…` are listeners, booleans are present or absent
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name of a symbol in index.html, without `i-` */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** @param {HTMLElement} button @param {string} name */
export function setIcon(button, name) {
  button.querySelector("use")?.setAttribute("href", `#i-${name}`);
}

/** The same name has the same colour everywhere. @param {string} name */
function hueOf(name) {
  let hash = 2166136261;
  for (const character of name.toLowerCase()) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519);
  hash ^= hash >>> 13;
  // All around the circle but for the red of hanging up.
  return 45 + ((hash >>> 0) % 24) * 13;
}

/** @param {string} name */
function initialsOf(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const picked = words.length > 1 ? [words[0], words.at(-1)] : words;
  return picked.map((word) => [...(word ?? "")][0] ?? "").join("").toLocaleUpperCase() || "?";
}

/** @param {string} name */
export function avatar(name) {
  const made = element("span", { class: "avatar", "aria-hidden": "true" }, initialsOf(name));
  made.style.setProperty("--hue", String(hueOf(name)));
  return made;
}

/** Faces in a row; the words beside them say the rest. */
const FACES = 3;

/** The first few of several, one over the other. @param {string[]} names */
export function faces(names) {
  return element("div", { class: "faces", "aria-hidden": "true" }, ...names.slice(0, FACES).map((name) => avatar(name)));
}

/** Says something aloud to screen readers at once. @param {string} text */
export function announce(text) {
  byId("announcer").textContent = text;
}

/**
 * A message that does not stop anybody.
 * @param {string} text
 * @param {{stay?: boolean, link?: {href: string, text: string}}} [options] `stay` until it is dismissed; `link`: where it leads
 * @returns {HTMLElement} to take it away
 */
export function notice(text, { stay = false, link } = {}) {
  const notices = byId("notices");
  for (const old of notices.children) if (old.firstChild?.textContent === text) old.remove();
  const close = element("button", { type: "button", class: "icon-button", "aria-label": "Dismiss" }, icon("close"));
  const made = element("div", { class: "notice" }, element("p", {}, text), link && element("a", { href: link.href }, link.text), close);
  // Whoever is on the way need not be told any more.
  if (link) addEventListener("hashchange", () => made.remove(), { once: true });
  close.addEventListener("click", () => made.remove());
  if (!stay) setTimeout(() => made.remove(), 6000);
  notices.append(made);
  return made;
}
