/**
 * Because of which revision a key is sent. Whoever tells a revision's event (the informers) or handles one (an actor)
 * says so for as long as it calls others; mailboxes look when a key arrives. All of that is synchronous, so that one
 * variable tells it exactly, and nobody in between has to hand it on.
 */

let revision = 0;

/** The revision that is being told now; 0: none, whoever sends does so of itself. */
export function told(): number {
  return revision;
}

/** Calls `tell` as what follows from a revision. */
export function telling(because: number, tell: () => void): void {
  const before = revision;
  revision = because;
  try {
    tell();
  } finally {
    revision = before;
  }
}
