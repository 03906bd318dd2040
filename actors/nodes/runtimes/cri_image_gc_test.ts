import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { IMAGE_AGE_MS_MIN, ImageGc, spaceOf } from "./cri_image_gc.ts";

/** A runtime with images of these sizes, on a disk of 1,000 bytes. */
function world(sizes: Record<string, number>) {
  const clock = new ManualClock();
  const there = new Map(Object.entries(sizes));
  const state = { available: 100, used: [] as string[], failures: [] as string[] };
  const removed: string[] = [];
  const answers: Record<string, (request: any) => object> = {
    ListImages: () => ({
      images: [...there].map(([id, size]) => ({ id, size, repoTags: [`r.io/${id}:1`] })),
    }),
    ListContainers: () => ({ containers: state.used.map((image) => ({ image: { image } })) }),
    ImageFsInfo: () => ({ imageFilesystems: [{ fsId: { mountpoint: "/images" } }] }),
    RemoveImage: ({ image }) => {
      removed.push(image.image);
      state.available += there.get(image.image)!;
      there.delete(image.image);
      return {};
    },
  };
  const gc = new ImageGc({
    client: {
      call: ((name: string, request: any) => Promise.resolve(answers[name](request))) as never,
    },
    clock,
    space: () => Promise.resolve({ capacity: 1000, available: state.available }),
    failed: (reason, message) => state.failures.push(`${reason}: ${message}`),
  });
  return { gc, clock, state, removed };
}

Deno.test("ImageGc frees from 85% down to 80%, what was used longest ago first", async () => {
  const { gc, clock, state, removed } = world({ a: 60, b: 60, c: 60, pause: 500 });
  state.available = 500;
  state.used = ["a"];
  await gc.run();
  await clock.advance(IMAGE_AGE_MS_MIN);
  state.used = ["r.io/c:1"];
  await gc.run();
  state.used = [];
  state.available = 151; // 84.9 are 85 percent, as a kubelet rounds
  assertEquals(await gc.run(), 60);
  assertEquals(removed, ["b"]);
  state.available = 100;
  assertEquals(await gc.run(), 120);
  assertEquals(removed, ["b", "a", "c"]);
  assertEquals(state.failures, []);
});

Deno.test("ImageGc leaves images that are used or new, and says what it could not free", async () => {
  const { gc, clock, state, removed } = world({ a: 60, b: 10 });
  state.used = ["a"];
  assertEquals(await gc.run(), 0);
  const text = (freed: number) =>
    "FreeDiskSpaceFailed: Failed to garbage collect required amount of images. Attempted to " +
    `free 100 bytes, but only found ${freed} bytes eligible to free.`;
  assertEquals(state.failures, [text(0)]);
  await clock.advance(IMAGE_AGE_MS_MIN);
  assertEquals(await gc.run(), 10);
  assertEquals(removed, ["b"]);
  assertEquals(state.failures[1], text(10));
  state.available = 200;
  assertEquals(await gc.run(), 0);
});

Deno.test("spaceOf() counts as df does, where a file system reserves most of what is free", () => {
  const inodes = { inodes: 1, inodesFree: 1, inodesUsed: 0 };
  const fs = { capacityBytes: 252, usedBytes: 58, availableBytes: 34, ...inodes };
  assertEquals(spaceOf(fs), { capacity: 92, available: 34 });
});
