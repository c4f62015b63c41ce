// Drawn when scrolled to: an element's picture is made when it first comes near the screen, and made anew only there.

const waiting = new Map();
let watcher = null;

function seen(entries) {
  for (const entry of entries) {
    const own = waiting.get(entry.target);
    if (!own) continue;
    own.near = entry.isIntersecting;
    settle(own);
  }
}

function settle(own) {
  if (!own.near || !own.stale) return;
  own.stale = false;
  own.draw();
}

/** Call `draw` when the element comes near the screen; the answer marks its picture as stale, to be drawn again. */
export function whenSeen(element, draw) {
  watcher ??= new IntersectionObserver(seen, { rootMargin: "200px" });
  const own = { near: false, stale: true, draw };
  waiting.set(element, own);
  watcher.observe(element);
  return () => {
    own.stale = true;
    settle(own);
  };
}

/** Draw all that was not seen yet, as before printing. */
export function drawAll() {
  for (const own of waiting.values()) {
    if (own.stale) {
      own.stale = false;
      own.draw();
    }
  }
}
