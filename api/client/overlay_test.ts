import { assert, assertEquals } from "@std/assert";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { ManualClock } from "../../kv/clock.ts";
import { Listings, Overlay } from "./overlay.ts";

function object(name: string): DeepReadonly<KubeObject> {
  return { metadata: { name } } as unknown as KubeObject;
}

Deno.test("Overlay is a map of its own, whatever it began with, and leaves that as it was", () => {
  const names = ["a", "b", "c", "d"];
  const base = new Map(names.map((name) => [name, object(name)]));
  const before = [...base];
  const clock = new ManualClock({ seed: 3 });
  const overlay = new Overlay();
  const model = new Map(base);
  overlay.begin(base);
  for (let i = 0; i < 500; i++) {
    const key = "abcdefgh"[Math.floor(clock.random() * 8)];
    if (clock.random() < 0.5) {
      const made = object(key);
      overlay.set(key, made);
      model.set(key, made);
    } else {
      overlay.delete(key);
      model.delete(key);
    }
    assertEquals(overlay.size, model.size);
    for (const key of "abcdefgh") assert(overlay.get(key) === model.get(key));
    const sorted = (entries: Iterable<[string, unknown]>) => [...entries].sort();
    assertEquals(sorted(overlay.entries()), sorted(model));
    assertEquals([...overlay.values()].length, model.size);
  }
  assertEquals([...base], before);
});

Deno.test("Listings gives the same map for the very same objects in the same order, and no other", () => {
  const listings = new Listings();
  const [a, b] = [object("a"), object("b")];
  const first = listings.of("v1/pods", [a, b]);
  assertEquals([...first], [["a", a], ["b", b]]);
  assert(listings.of("v1/pods", [a, b]) === first);
  for (const items of [[a], [b, a], [a, object("b")], [a, b, object("c")]]) {
    assert(listings.of("v1/pods", items) !== first);
  }
  assert(listings.of("v1/secrets", [a, b]) !== listings.of("v1/pods", [a, b]));
});
