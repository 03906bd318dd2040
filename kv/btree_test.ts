/** The persistent map against a plain one. */

import { assert, assertEquals } from "@std/assert";
import * as btree from "./btree.ts";
import { ManualClock } from "./clock.ts";

interface Entry {
  key: string;
  value: number;
}

type Root = btree.Node<Entry>;

/** Checks order, sizes and the keys of inner nodes; returns the depth. */
function check(node: Root, isRoot = true): number {
  if (node.items !== null) {
    assert(isRoot || node.items.length > 0);
    assertEquals(node.size, node.items.length);
    return 1;
  }
  const kids = node.kids!;
  assertEquals(node.size, kids.reduce((sum, kid) => sum + kid.size, 0));
  assert(kids.length <= 32 && kids.length >= (isRoot ? 2 : 1));
  kids.forEach((kid, i) => {
    assertEquals(node.keys![i], kid.items !== null ? kid.items[0].key : kid.keys![0]);
  });
  const depths = kids.map((kid) => check(kid, false));
  assert(depths.every((depth) => depth === depths[0]));
  return depths[0] + 1;
}

function keysOf(root: Root, from = "", end?: string): string[] {
  return [...btree.scan(root, from, end)].map(({ key }) => key);
}

for (let seed = 1; seed <= 5; seed++) {
  Deno.test(`a B-tree is a sorted map, whatever is done to it, seed ${seed}`, () => {
    const clock = new ManualClock({ seed });
    const random = (below: number) => Math.floor(clock.random() * below);
    const model = new Map<string, number>();
    let root: Root = btree.EMPTY;
    const kept: { root: Root; keys: string[] }[] = [];
    for (let step = 0; step < 6_000; step++) {
      const key = `/k/${random(seed % 2 ? 3_000 : 200)}`;
      // Phases of growth and of shrinking, so that nodes split and join.
      if (random(10) < (Math.floor(step / 1_500) % 2 ? 3 : 8)) {
        root = btree.set(root, { key, value: step });
        model.set(key, step);
      } else {
        const before = root;
        root = btree.remove(root, key);
        assertEquals(model.delete(key), root !== before);
      }
      assertEquals(root.size, model.size);
      if (step % 500 === 0) {
        check(root);
        const keys = [...model.keys()].sort();
        assertEquals(keysOf(root), keys);
        kept.push({ root, keys });
        for (let i = 0; i < 20; i++) {
          const [from, end] = [`/k/${random(3_000)}`, `/k/${random(3_000)}`].sort();
          const expected = keys.filter((one) => one >= from && one < end);
          assertEquals(keysOf(root, from, end), expected);
          assertEquals(btree.rank(root, end) - btree.rank(root, from), expected.length);
        }
      }
      if (step % 50 === 0) assertEquals(btree.get(root, key)?.value, model.get(key));
    }
    // Older roots are as they were.
    for (const { root: old, keys } of kept) assertEquals(keysOf(old), keys);
    for (const key of model.keys()) root = btree.remove(root, key);
    assertEquals(root, btree.EMPTY);
  });
}

Deno.test("fromSorted() makes the same map as one set after another", () => {
  for (const length of [0, 1, 24, 25, 600, 5_000]) {
    const items = Array.from({ length }, (_, i) => ({ key: String(i).padStart(6, "0"), value: i }));
    let root: Root = btree.EMPTY;
    for (const item of items) root = btree.set(root, item);
    const built = btree.fromSorted(items);
    check(built);
    assertEquals(keysOf(built), keysOf(root));
    assertEquals(built.size, length);
    assertEquals(btree.get(built, "000007")?.value, length > 7 ? 7 : undefined);
  }
});

Deno.test("prefixEnd() is the first key beyond a prefix", () => {
  assertEquals(btree.prefixEnd("/a/"), "/a0");
  assertEquals(btree.prefixEnd("a\uffff"), "b");
  assertEquals(btree.prefixEnd("\uffff"), undefined);
  assertEquals(btree.prefixEnd(""), undefined);
});

Deno.test("sameItems() tells whether a range holds the same items, whatever changed beside it", () => {
  const items = Array.from(
    { length: 500 },
    (_, i) => ({ key: `/k/${String(i).padStart(4, "0")}` }),
  );
  const before = btree.fromSorted(items);
  const range = { from: "/k/0100", end: "/k/0200" };
  const same = (after: btree.Node<{ key: string }>, other = range) =>
    btree.sameItems(after, before, other);
  assert(same(before));
  for (const { key } of items) {
    const inside = key >= range.from && key < range.end;
    assertEquals(same(btree.set(before, { key })), !inside, `${key} replaced`);
    assertEquals(same(btree.remove(before, key)), !inside, `${key} removed`);
  }
  assert(!same(btree.set(before, { key: "/k/0150a" })), "one added");
  const last = { from: "/k/0499", end: undefined } as unknown as typeof range;
  assert(!same(btree.set(before, { key: "/l" }), last));
  assert(same(btree.remove(before, "/k/0001"), last));
  const nothing = { from: "/x", end: "/y" };
  assert(same(btree.remove(before, "/k/0001"), nothing));
});

Deno.test("differences() tells what differs in a range, whatever the maps share", () => {
  const clock = new ManualClock({ seed: 5 });
  const pick = (n: number) => Math.floor(clock.random() * n);
  const item = (n: number) => ({ key: `/k/${String(n).padStart(4, "0")}` });
  for (let round = 0; round < 200; round++) {
    let a: btree.Node<{ key: string }> = btree.EMPTY;
    for (let i = pick(400); i > 0; i--) a = btree.set(a, item(pick(1_000)));
    let b = pick(5) === 0 ? (btree.EMPTY as typeof a) : a;
    for (let i = pick(round % 2 ? 5 : 300); i > 0; i--) {
      b = pick(3) === 0 ? btree.remove(b, item(pick(1_000)).key) : btree.set(b, item(pick(1_000)));
    }
    const from = pick(2) ? "" : item(pick(1_000)).key;
    const end = pick(2) ? undefined : item(pick(1_000)).key;
    const [left, right] = [a, b].map((map) =>
      new Map([...btree.scan(map, from, end)].map((one) => [one.key, one]))
    );
    const expected = [...new Set([...left.keys(), ...right.keys()])].sort()
      .map((key) => [left.get(key), right.get(key)])
      .filter(([before, after]) => before !== after);
    const told = [...btree.differences(a, b, { from, end })].map((
      { before, after },
    ) => [before, after]);
    assertEquals(told, expected);
  }
});
