import { assertEquals, assertThrows } from "@std/assert";
import { variableIn } from "./env_file.ts";

const FILE = `
# of the build
A='1'
  B='two words' # the second
C='over
two lines'
D= 'empty'
E=''
`;

Deno.test("variableIn() reads values as they are, past comments and blank lines", () => {
  const read = (name: string) => variableIn(FILE, name);
  assertEquals(["A", "B", "C", "D", "E", "F"].map(read), [
    "1",
    "two words",
    "over\ntwo lines",
    "",
    "",
    undefined,
  ]);
});

Deno.test("variableIn() refuses what a strict reader cannot be sure of", () => {
  for (const text of ["A=1", "A='1", "A='1'2", "A ='1'", "='1'", "words", 'A="1"']) {
    assertThrows(() => variableIn(text, "A"), Error, "Cannot read");
  }
});
