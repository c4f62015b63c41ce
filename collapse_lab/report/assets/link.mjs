// One cursor and one zoom for all charts of a group: those through depth, and those over steps.

/** A group; a member has `cursor(x)` (null: none) and, if it can zoom, `zoom(low, high)` (null: all). */
export function createLink() {
  const members = new Set();
  let busy = false;
  const tell = (what, from, ...values) => {
    if (busy) return; // a member that was told tells nobody
    busy = true;
    for (const member of members) if (member !== from && member[what]) member[what](...values);
    busy = false;
  };
  return {
    join(member) {
      members.add(member);
      return member;
    },
    leave: (member) => members.delete(member),
    cursor: (from, x) => tell("cursor", from, x),
    zoom(from, low, high) {
      if (busy) return;
      this.range = low === null ? null : [low, high];
      tell("zoom", from, low, high);
    },
    quietly(act) {
      const before = busy;
      busy = true;
      act();
      busy = before;
    },
    range: null,
  };
}
