/** Owners and what they own, as a tree around one object. Pure. */

/** What is known of an object: its kind, and metadata. */
export interface Relative {
  kind: { group: string; plural: string; kind: string };
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    ownerReferences?: readonly { uid: string; kind: string; name: string }[];
  };
}

/** An object and what it owns. */
export interface Branch {
  relative: Relative;
  children: Branch[];
}

/** The tree in which an object is: its farthest owner first. An object with several owners is under each of them. */
export function familyOf(uid: string, all: readonly Relative[]): Branch[] {
  const byUid = new Map(all.map((one) => [one.metadata.uid, one]));
  const owned = new Map<string, Relative[]>();
  for (const one of all) {
    for (const { uid: owner } of one.metadata.ownerReferences ?? []) {
      const known = owned.get(owner);
      if (known) known.push(one);
      else owned.set(owner, [one]);
    }
  }
  const roots = rootsOf(uid, byUid, new Set());
  const grow = (relative: Relative, path: ReadonlySet<string>): Branch => {
    const { uid } = relative.metadata;
    const below = new Set(path).add(uid);
    const children = (owned.get(uid) ?? []).filter((child) => !below.has(child.metadata.uid));
    return { relative, children: children.map((child) => grow(child, below)) };
  };
  return roots.map((root) => grow(root, new Set()));
}

function rootsOf(
  uid: string,
  byUid: ReadonlyMap<string, Relative>,
  seen: Set<string>,
): Relative[] {
  const one = byUid.get(uid);
  if (!one || seen.has(uid)) return [];
  seen.add(uid);
  const above = (one.metadata.ownerReferences ?? []).flatMap((owner) =>
    rootsOf(owner.uid, byUid, seen)
  );
  return above.length ? above : [one];
}
