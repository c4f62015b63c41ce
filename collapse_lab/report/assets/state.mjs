// What the reader has chosen, and who wants to know when it changes.

/** An observable record: `get`, `set` of some names, and `on(names, react)`. */
export function createState(initial) {
  const values = { ...initial };
  const listeners = [];
  return {
    get: (name) => values[name],
    set(changes) {
      const changed = Object.keys(changes).filter((name) => values[name] !== changes[name]);
      Object.assign(values, changes);
      if (!changed.length) return;
      for (const { names, react } of listeners) if (names.some((name) => changed.includes(name))) react(changed);
    },
    on(names, react) {
      listeners.push({ names, react });
    },
  };
}
