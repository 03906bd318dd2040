import { assertEquals } from "@std/assert";
import { ManualClock } from "../../../kv/clock.ts";
import { LINE_BYTES_MAX, LogWriter, readLog } from "./logs.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = async (stream: ReadableStream<Uint8Array>) => await new Response(stream).text();

async function withLog(
  use: (log: LogWriter, clock: ManualClock, path: string) => Promise<void>,
  bytesMax?: number,
) {
  const folder = await Deno.makeTempDir();
  const clock = new ManualClock();
  const log = new LogWriter(`${folder}/c/0.log`, { clock, bytesMax });
  try {
    await use(log, clock, log.path);
  } finally {
    log.close();
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("LogWriter writes lines in the CRI format, split over chunks and streams", () =>
  withLog(async (log, _clock, path) => {
    log.write("stdout", bytes("one\ntw"));
    log.write("stderr", bytes("oops\n"));
    log.write("stdout", bytes("o\nend"));
    log.close();
    assertEquals(
      await Deno.readTextFile(path),
      [
        "2026-01-01T00:00:00.000000000Z stdout F one",
        "2026-01-01T00:00:00.000000000Z stderr F oops",
        "2026-01-01T00:00:00.000000000Z stdout F two",
        "2026-01-01T00:00:00.000000000Z stdout P end",
        "",
      ].join("\n"),
    );
    assertEquals(await text(readLog(path, {})), "one\noops\ntwo\nend");
    assertEquals(await text(readLog(path, { stream: "Stderr" })), "oops\n");
    assertEquals(await text(readLog(path, { stream: "Stdout", tailLines: 2 })), "two\nend");
  }));

Deno.test("readLog() reads times as Go's runtimes write them, and gives all their digits", async () => {
  const path = await Deno.makeTempFile();
  const lines = [
    "2026-01-01T00:00:01Z stdout F a",
    "2026-01-01T00:00:02.5Z stderr F b",
    "2026-01-01T09:00:03.12345678+09:00 stdout F c",
  ];
  await Deno.writeTextFile(path, lines.map((line) => `${line}\n`).join(""));
  const sinceMs = Date.parse("2026-01-01T00:00:02Z");
  assertEquals(
    await text(readLog(path, { timestamps: true })),
    "2026-01-01T00:00:01.000000000Z a\n2026-01-01T00:00:02.500000000Z b\n" +
      "2026-01-01T09:00:03.123456780+09:00 c\n",
  );
  assertEquals(await text(readLog(path, { sinceMs })), "b\nc\n");
  await Deno.remove(path);
});

Deno.test("readLog() gives tail, since, timestamps and a limit of bytes", () =>
  withLog(async (log, clock, path) => {
    for (let i = 0; i < 5; i++) {
      log.write("stdout", bytes(`line ${i}\n`));
      await clock.advance(1000);
    }
    assertEquals(await text(readLog(path, { tailLines: 2 })), "line 3\nline 4\n");
    assertEquals(await text(readLog(path, { tailLines: 0 })), "");
    assertEquals(await text(readLog(path, { tailLines: 99 })), await text(readLog(path, {})));
    const sinceMs = clock.now() - 2000;
    assertEquals(await text(readLog(path, { sinceMs })), "line 3\nline 4\n");
    assertEquals(
      await text(readLog(path, { tailLines: 1, timestamps: true })),
      "2026-01-01T00:00:04.000000000Z line 4\n",
    );
    assertEquals(await text(readLog(path, { limitBytes: 9 })), "line 0\nli");
  }));

Deno.test("a line longer than a part is put together again, and counts as one", () =>
  withLog(async (log, _clock, path) => {
    const long = "x".repeat(LINE_BYTES_MAX * 5 + 7);
    log.write("stdout", bytes("before\n"));
    for (let i = 0; i < long.length; i += 10_000) {
      log.write("stdout", bytes(long.slice(i, i + 10_000)));
    }
    log.write("stdout", bytes("\nafter\n"));
    assertEquals(await text(readLog(path, {})), `before\n${long}\nafter\n`);
    assertEquals(await text(readLog(path, { tailLines: 2 })), `${long}\nafter\n`);
  }));

Deno.test("a follower sees what is added, over rotations, and ends with the log", () =>
  withLog(async (log, _clock, path) => {
    log.write("stdout", bytes("first\n"));
    const reading = text(readLog(path, { follow: log }));
    let expected = "first\n";
    for (let i = 0; i < 100; i++) {
      log.write("stdout", bytes(`line ${i}\n`));
      expected += `line ${i}\n`;
      if (i % 10 === 0) await new Promise((r) => setTimeout(r));
    }
    log.close();
    assertEquals(await reading, expected);
    assertEquals(await text(readLog(path, { tailLines: 3 })), "line 97\nline 98\nline 99\n");
  }, 2000));

Deno.test("cancelling a follower ends it", () =>
  withLog(async (log, _clock, path) => {
    log.write("stdout", bytes("a\n"));
    const reader = readLog(path, { follow: log }).getReader();
    await reader.read();
    const next = reader.read();
    await reader.cancel();
    assertEquals((await next).done, true);
  }));
