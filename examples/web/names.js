/** Whom ids belong to: notes and past calls name users by id, and they may not be here now. */

const KEY = "ringback.names";
/** Old ones are forgotten beyond this; it is a convenience of this page. */
const LIMIT = 200;

/** @type {Map<string, string>} */
const names = new Map(stored());

/** @returns {[string, string][]} */
function stored() {
  try {
    return Object.entries(JSON.parse(localStorage.getItem(KEY) ?? "{}"));
  } catch {
    return [];
  }
}

/** @param {{user: string, name?: string}[]} people */
export function meet(people) {
  const before = JSON.stringify([...names]);
  for (const { user, name } of people) {
    if (!name || names.get(user) === name) continue;
    names.delete(user);
    names.set(user, name);
  }
  if (JSON.stringify([...names]) === before) return;
  localStorage.setItem(KEY, JSON.stringify(Object.fromEntries([...names].slice(-LIMIT))));
}

/** @param {string} user */
export const nameFor = (user) => names.get(user) ?? user;
