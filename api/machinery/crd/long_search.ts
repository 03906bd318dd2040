/**
 * A search for a pattern that can be given up in its middle and gone on with: RE2's machine of threads, over the program
 * that the engine compiled, once its automaton has said that there is something to find, or that it cannot say. The engine itself is faster, but holds the event loop until it is done, which takes seconds
 * for a long text and a large pattern. Both find the same (a test compares them).
 */
import type { RE2JS } from "re2js";

/** An instruction of a compiled pattern, as the engine has them. */
interface Instruction {
  op: number;
  out: number;
  arg: number;
  matchRune(rune: number): boolean;
}

const ALT = 1;
const ALT_MATCH = 2;
const CAPTURE = 3;
const EMPTY_WIDTH = 4;
const MATCH = 6;
const NOP = 7;
const RUNE_ANY = 10;
const RUNE_ANY_NOT_NL = 11;

const BEGIN_LINE = 1;
const END_LINE = 2;
const BEGIN_TEXT = 4;
const END_TEXT = 8;
const WORD_BOUNDARY = 16;
const NO_WORD_BOUNDARY = 32;
const NEWLINE = 10;

/** Texts times patterns of less are left to the engine: at most some three milliseconds. */
const SHORT_STEPS = 100_000;
/** Steps of threads in a piece: some hundred microseconds. */
const PIECE_STEPS = 4_096;

/** A state of the engine's automaton: what all threads together may be in. */
interface State {
  isMatch: boolean;
  next: readonly (State | null)[] | null;
}

/** The engine's automaton, whose states it makes as it comes to them. */
interface Automaton {
  failed: boolean;
  numClasses: number;
  runeClass(rune: number): number;
  start(input: { context(at: number): number; step(at: number): number }, at: number): State | null;
  /** Null: it has more states than it may remember. */
  stepOrReset(
    state: State,
    runeClass: number,
    rune: number,
    anchor: number,
    at: number,
    search: { resetPos: number },
  ): State | null;
}

/** What the engine made of a pattern. */
interface Compiled {
  prog: { inst: readonly Instruction[]; start: number };
  dfa: Automaton;
}

/** A match may begin anywhere. */
const UNANCHORED = 0;
const END = -1;

function compiledOf(pattern: RE2JS): Compiled {
  return (pattern as unknown as { re2Input: Compiled }).re2Input;
}

/** Whether a search may take long. */
export function takesLong(pattern: RE2JS, text: string): boolean {
  return text.length * compiledOf(pattern).prog.inst.length > SHORT_STEPS;
}

const isWord = (unit: number) =>
  (unit >= 48 && unit <= 57) || (unit >= 65 && unit <= 90) || unit === 95 ||
  (unit >= 97 && unit <= 122);

/** Threads in the order of their priority, each where its match would begin. */
class Threads {
  readonly pcs: Int32Array;
  readonly starts: Int32Array;
  readonly #places: Int32Array;
  size = 0;

  constructor(instructions: number) {
    this.pcs = new Int32Array(instructions);
    this.starts = new Int32Array(instructions);
    this.#places = new Int32Array(instructions);
  }

  /** Whether it was not there. */
  add(pc: number, start: number): boolean {
    const at = this.#places[pc];
    if (at < this.size && this.pcs[at] === pc) return false;
    this.#places[pc] = this.size;
    this.pcs[this.size] = pc;
    this.starts[this.size++] = start;
    return true;
  }
}

/** Work that goes on by pieces: `advance` does one, and says whether that was the last. */
interface Piecemeal {
  advance(): boolean;
}

/** What holds between two characters of a text. */
function around(text: string, at: number): number {
  const before = at > 0 ? text.charCodeAt(at - 1) : END;
  const after = at < text.length ? text.charCodeAt(at) : END;
  return (before < 0 ? BEGIN_TEXT | BEGIN_LINE : before === NEWLINE ? BEGIN_LINE : 0) |
    (after < 0 ? END_TEXT | END_LINE : after === NEWLINE ? END_LINE : 0) |
    (isWord(before) === isWord(after) ? NO_WORD_BOUNDARY : WORD_BOUNDARY);
}

/** Asks the automaton whether there is a match: one step a character, but not for every pattern. */
class Test implements Piecemeal {
  /** Undefined: it cannot say. */
  found: boolean | undefined = false;
  readonly #text: string;
  readonly #dfa: Automaton;
  readonly #new: number;
  readonly #search = { resetPos: -1 };
  #state: State | null;
  #at = 0;

  constructor({ prog, dfa }: Compiled, text: string) {
    this.#text = text;
    this.#dfa = dfa;
    // A state that is not there yet is made of all instructions
    this.#new = prog.inst.length;
    const step = (at: number) => at < text.length ? text.codePointAt(at)! << 3 : -8;
    this.#state = dfa.failed ? null : dfa.start({ context: (at) => around(text, at), step }, 0);
  }

  advance(): boolean {
    for (let steps = 0; steps < PIECE_STEPS;) {
      const state = this.#state;
      if (!state) {
        this.found = undefined;
        return true;
      }
      if (state.isMatch) {
        this.found = true;
        return true;
      }
      const at = this.#at;
      if (at > this.#text.length) return true;
      const rune = this.#text.codePointAt(at) ?? END;
      const runeClass = rune === END ? this.#dfa.numClasses : this.#dfa.runeClass(rune);
      const known = state.next?.[runeClass];
      steps += known ? 1 : this.#new;
      this.#state = known ??
        this.#dfa.stepOrReset(state, runeClass, rune, UNANCHORED, at, this.#search);
      this.#at = at + (rune > 0xffff ? 2 : 1);
    }
    return false;
  }
}

/** What is found of at most so many matches: where each begins and ends. */
export class LongSearch implements Piecemeal {
  readonly #test: Test;
  readonly #machine: Machine;
  readonly #testing: boolean;
  #tested = false;

  /** `testing`: where a match begins or ends is not asked. */
  constructor(
    pattern: RE2JS,
    text: string,
    { limit, testing = false }: { limit: number; testing?: boolean },
  ) {
    const compiled = compiledOf(pattern);
    this.#test = new Test(compiled, text);
    this.#machine = new Machine(compiled, text, { limit, testing });
    this.#testing = testing;
  }

  get spans(): Machine["spans"] {
    return this.#machine.spans;
  }

  /** Whether there is a match. */
  get found(): boolean {
    return this.#test.found ?? this.spans.length > 0;
  }

  /** Searches on for a while; true when that was all. */
  advance(): boolean {
    if (!this.#tested) {
      this.#tested = this.#test.advance();
      const { found } = this.#test;
      return this.#tested && (found === false || (found === true && this.#testing));
    }
    return this.#machine.advance();
  }
}

/** RE2's machine of threads: a step for each thread and character. */
class Machine implements Piecemeal {
  readonly spans: [start: number, end: number][] = [];
  readonly #instructions: readonly Instruction[];
  readonly #first: number;
  readonly #text: string;
  readonly #limit: number;
  /** Where a match begins or ends is not asked. */
  readonly #testing: boolean;
  #now: Threads;
  #next: Threads;
  #at = 0;
  /** The match so far: one of higher priority may still come. */
  #found: [number, number] | undefined;
  /** Steps since the last piece. */
  #steps = 0;

  constructor(
    { prog }: Compiled,
    text: string,
    { limit, testing }: { limit: number; testing: boolean },
  ) {
    this.#instructions = prog.inst;
    this.#first = prog.start;
    this.#text = text;
    this.#limit = limit;
    this.#testing = testing;
    this.#now = new Threads(this.#instructions.length);
    this.#next = new Threads(this.#instructions.length);
  }

  /** Searches on for a while; true when that was all. */
  advance(): boolean {
    this.#steps = 0;
    while (this.spans.length < this.#limit && this.#at <= this.#text.length) {
      this.#character();
      if (this.#steps > PIECE_STEPS) return false;
    }
    return true;
  }

  /** Takes all threads over one character, or over the end. */
  #character(): void {
    const at = this.#at;
    const rune = this.#text.codePointAt(at) ?? -1;
    const next = at + (rune > 0xffff ? 2 : 1);
    if (!this.#found) this.#spawn(this.#now, this.#first, at, at);
    const { pcs, starts, size } = this.#now;
    this.#steps += size + 1;
    for (let i = 0; i < size; i++) {
      const instruction = this.#instructions[pcs[i]];
      if (instruction.op === MATCH) {
        this.#found = [starts[i], at];
        // Those of lower priority are out of the running
        break;
      }
      if (rune >= 0 && fits(instruction, rune)) {
        this.#spawn(this.#next, instruction.out, starts[i], next);
      }
    }
    this.#now.size = 0;
    [this.#now, this.#next] = [this.#next, this.#now];
    this.#at = next;
    const over = this.#now.size === 0 || this.#testing || rune < 0;
    if (this.#found && over) this.#note(this.#found);
  }

  /** Notes a match; the next one begins at its end, or, where it is empty, a character later. */
  #note([start, end]: [number, number]): void {
    this.spans.push([start, end]);
    this.#found = undefined;
    this.#now.size = 0;
    const rune = this.#text.codePointAt(end) ?? 0;
    this.#at = end > start ? end : end + (rune > 0xffff ? 2 : 1);
  }

  /** Adds a thread and those that it splits into before the next character. */
  #spawn(threads: Threads, pc: number, start: number, at: number): void {
    const waiting = [pc];
    while (waiting.length > 0) {
      const next = waiting.pop()!;
      if (!threads.add(next, start)) continue;
      this.#steps++;
      const { op, out, arg } = this.#instructions[next];
      if (op === ALT || op === ALT_MATCH) waiting.push(arg, out);
      else if (op === CAPTURE || op === NOP) waiting.push(out);
      else if (op === EMPTY_WIDTH && (arg & ~around(this.#text, at)) === 0) waiting.push(out);
    }
  }
}

/** Whether an instruction takes a character. Those that take none are only in the way. */
function fits(instruction: Instruction, rune: number): boolean {
  const { op } = instruction;
  if (op < 8 || op > RUNE_ANY_NOT_NL) return false;
  return op === RUNE_ANY ||
    (op === RUNE_ANY_NOT_NL ? rune !== NEWLINE : instruction.matchRune(rune));
}
