import { assertEquals } from "@std/assert";
import { type Key, sentBy } from "./keys.ts";
import { Screen, SCROLLBACK_MAX } from "./screen.ts";

const textOf = (screen: Screen) =>
  screen.lines.map((line) => line.map(({ text }) => text).join("").trimEnd());

function shown(written: string, columns = 10, rows = 3): string[] {
  const screen = new Screen(columns, rows);
  screen.write(written);
  return textOf(screen);
}

const CASES: readonly [name: string, written: string, lines: string[]][] = [
  ["text and new lines", "ab\r\ncd", ["ab", "cd", ""]],
  ["a return writes over", "abc\rx", ["xbc", "", ""]],
  ["long lines go on below", "abcdefghijkl", ["abcdefghij", "kl", ""]],
  ["no wrapping where it is off", "\x1b[?7labcdefghijkl", ["abcdefghil", "", ""]],
  ["backspace and erasing to the end", "abc\b\b\x1b[K", ["a", "", ""]],
  ["the cursor goes anywhere", "\x1b[2;3Hx\x1b[A\x1b[Dy", ["  y", "  x", ""]],
  ["the screen is erased", "abc\r\ndef\x1b[2J\x1b[Hx", ["x", "", ""]],
  ["characters are inserted and deleted", "abcd\r\x1b[2P\x1b[1@", [" cd", "", ""]],
  ["lines are inserted", "a\r\nb\x1b[1;1H\x1b[L", ["", "a", "b"]],
  ["a region scrolls alone", "a\r\nb\r\nc\x1b[1;2r\x1b[2;1H\n", ["b", "", "c"]],
  ["the cursor is kept", "ab\x1b7\r\nzz\x1b8c", ["abc", "zz", ""]],
  ["titles are not shown", "\x1b]0;title\x07a\x1b]0;x\x1b\\b", ["ab", "", ""]],
  ["wide characters take two places", "한글\x1b[3Gx", ["한x", "", ""]],
  ["marks join the letter before", "e\u0301x", ["e\u0301x", "", ""]],
  ["tabs", "a\tb", ["a       b", "", ""]],
  ["what is unknown is left out", "\x1b[5;6z\x1b[>1ma\x1b(Bb", ["ab", "", ""]],
];

Deno.test("Screen shows what programs write", async (t) => {
  for (const [name, written, lines] of CASES) {
    await t.step(name, () => assertEquals(shown(written), lines));
    await t.step(`${name}, in pieces`, () => {
      const screen = new Screen(10, 3);
      for (const piece of written) screen.write(piece);
      assertEquals(textOf(screen), lines);
    });
  }
});

Deno.test("Screen keeps lines that leave at the top, no more than it may", () => {
  const screen = new Screen(10, 2);
  for (let i = 0; i < SCROLLBACK_MAX + 10; i++) screen.write(`${i}\r\n`);
  assertEquals(screen.scrollback.length, SCROLLBACK_MAX);
  assertEquals(screen.scrollback.at(-1)!.map(({ text }) => text).join("").trim(), "2008");
});

Deno.test("Screen has another screen, and the main one comes back as it was", () => {
  const screen = new Screen(10, 2);
  screen.write("shell\x1b[?1049h\x1b[Heditor");
  assertEquals(textOf(screen), ["editor", ""]);
  screen.write("\x1b[?1049l");
  assertEquals(textOf(screen), ["shell", ""]);
  assertEquals([screen.x, screen.y], [5, 0]);
});

Deno.test("Screen knows colours and looks", () => {
  const screen = new Screen(10, 1);
  screen.write("\x1b[1;31ma\x1b[0mb\x1b[38;5;196mc\x1b[38;2;1;2;3md\x1b[97;7me\x1b[39;27mf");
  assertEquals(screen.lines[0].slice(0, 6).map(({ style }) => JSON.stringify(style)), [
    '{"bold":true,"front":1}',
    "{}",
    '{"front":"rgb(255 0 0)"}',
    '{"front":"rgb(1 2 3)"}',
    '{"front":15,"inverse":true}',
    "{}",
  ]);
});

Deno.test("Screen answers where the cursor is, and survives another size", () => {
  const said: string[] = [];
  const screen = new Screen(10, 3, (text) => said.push(text));
  screen.write("ab\r\ncd\x1b[6n");
  assertEquals(said, ["\x1b[2;3R"]);
  screen.resize(4, 1);
  assertEquals(textOf(screen), ["cd"]);
  screen.write("\x1b[99;99Hx\x1b[999L\x1b[999P");
  assertEquals(textOf(screen).length, 1);
});

Deno.test("sentBy() says what keys send, and leaves a way out of the terminal", () => {
  const key = (name: string, more: Partial<Key> = {}): Key => ({
    key: name,
    ctrlKey: false,
    altKey: false,
    metaKey: false,
    shiftKey: false,
    ...more,
  });
  assertEquals(sentBy(key("Enter"), false), "\r");
  assertEquals(sentBy(key("ArrowUp"), false), "\x1b[A");
  assertEquals(sentBy(key("ArrowUp"), true), "\x1bOA");
  assertEquals(sentBy(key("c", { ctrlKey: true }), false), "\x03");
  assertEquals(sentBy(key("x", { altKey: true }), false), "\x1bx");
  assertEquals(sentBy(key("Tab"), false), "\t");
  for (
    const left of [
      key("Tab", { shiftKey: true }),
      key("a"),
      key("가"),
      key("v", { ctrlKey: true }),
      key("C", { ctrlKey: true, shiftKey: true }),
      key("r", { metaKey: true }),
      key("Shift"),
    ]
  ) assertEquals(sentBy(left, false), undefined);
});
