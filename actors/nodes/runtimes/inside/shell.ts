/**
 * A shell for simple commands: words with quotes and variables, `;`, `&&`, `||`, `|`, redirections to and
 * from files, `cd`, `exit`, `export`. Loops, functions and substitutions are refused with a clear text.
 */
import type { Streams } from "./commands.ts";

type Run = (words: string[], io: Streams) => Promise<number>;

interface Simple {
  words: string[];
  /** Where output (1) and errors (2) go instead: a file, or the other's place. */
  into: Partial<Record<"1" | "2", Target>>;
  from?: string;
}

type Target = { path: string; append: boolean } | "other";

type Token = { word: string } | { sign: string };

const UNSUPPORTED = new Set(
  "while until for if case function do done then fi esac select time".split(" "),
);

/** What the shell does not know. */
class SyntaxProblem extends Error {}

/** Signals `exit` through the commands around it. */
class Exit extends Error {
  readonly code: number;
  constructor(code: number) {
    super("exit");
    this.code = code;
  }
}

/** See the module's text. */
export class Shell {
  readonly #run: Run;
  readonly #io: Streams;
  #last = 0;
  #arguments: string[] = [];

  constructor(run: Run, io: Streams) {
    this.#run = run;
    this.#io = io;
  }

  /** `sh -c TEXT [NAME ARG…]`, `sh FILE`, or commands from standard input. */
  async start(args: string[]): Promise<number> {
    const at = args.findIndex((a) => /^-[a-z]*c$/.test(a));
    try {
      if (at >= 0) {
        this.#arguments = args.slice(at + 2);
        return await this.text(args[at + 1] ?? "");
      }
      const file = args.find((a) => !a.startsWith("-"));
      if (file) return await this.text(Deno.readTextFileSync(file));
      return await this.#interactive();
    } catch (error) {
      if (error instanceof Exit) return error.code;
      this.#io.err(`sh: ${(error as Error).message}\n`);
      return 2;
    }
  }

  async #interactive(): Promise<number> {
    const tty = Deno.stdin.isTerminal();
    const decoder = new TextDecoder();
    let rest = "";
    if (tty) this.#io.out("$ ");
    for await (const chunk of Deno.stdin.readable) {
      rest += decoder.decode(chunk, { stream: true });
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        try {
          await this.text(line);
        } catch (error) {
          if (!(error instanceof SyntaxProblem)) throw error;
          this.#io.err(`sh: ${error.message}\n`);
          this.#last = 2;
        }
        if (tty) this.#io.out("$ ");
      }
    }
    if (rest) await this.text(rest);
    return this.#last;
  }

  /** Runs a script; resolves with the status of its last command. */
  async text(script: string): Promise<number> {
    const tokens = tokenise(script, (name) => this.#variable(name));
    let pipeline: Simple[] = [], skip = false, current = blank();
    const finish = async () => {
      if (current.words.length || current.into["1"]) pipeline.push(current);
      current = blank();
      if (pipeline.length && !skip) this.#last = await this.#pipeline(pipeline);
      pipeline = [];
    };
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      if ("word" in token) {
        if (!current.words.length && UNSUPPORTED.has(token.word)) {
          throw new SyntaxProblem(`"${token.word}" is not supported: only simple commands are`);
        }
        current.words.push(token.word);
        continue;
      }
      const next = tokens[i + 1];
      const path = next && "word" in next ? next.word : "";
      switch (token.sign) {
        case "|":
          pipeline.push(current);
          current = blank();
          break;
        case "1>":
        case "1>>":
        case "2>":
        case "2>>":
          current.into[token.sign[0] as "1" | "2"] = { path, append: token.sign.endsWith(">>") };
          i++;
          break;
        case "<":
          current.from = path;
          i++;
          break;
        case "1>&2":
        case "2>&1":
          current.into[token.sign[0] as "1" | "2"] = "other";
          break;
        case "&&":
          await finish();
          skip = this.#last !== 0;
          break;
        case "||":
          await finish();
          skip = this.#last === 0;
          break;
        case ";":
          await finish();
          skip = false;
          break;
        default:
          throw new SyntaxProblem(`"${token.sign}" is not supported`);
      }
    }
    await finish();
    return this.#last;
  }

  #variable(name: string): string {
    if (name === "?") return String(this.#last);
    if (name === "$") return String(Deno.pid);
    if (name === "@" || name === "*") return this.#arguments.slice(1).join(" ");
    if (/^\d$/.test(name)) return this.#arguments[Number(name)] ?? "";
    return Deno.env.get(name) ?? "";
  }

  async #pipeline(commands: readonly Simple[]): Promise<number> {
    let input: Uint8Array | undefined;
    let code = 0;
    for (const [i, command] of commands.entries()) {
      const last = i === commands.length - 1;
      const given = command.from ? Deno.readFileSync(command.from) : input;
      const { "1": out, "2": err } = command.into;
      const files = new Map<Target, Uint8Array[]>();
      const piped: Uint8Array[] = [];
      const keep = (pieces: Uint8Array[]) => (bytes: Uint8Array | string) =>
        void pieces.push(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes);
      const file = (target: Target) => {
        files.set(target, []);
        return keep(files.get(target)!);
      };
      const toErr = (bytes: Uint8Array | string) =>
        this.#io.err(typeof bytes === "string" ? bytes : new TextDecoder().decode(bytes));
      const outTo = out === "other" ? toErr : out ? file(out) : last ? this.#io.out : keep(piped);
      const plain = outTo === this.#io.out && given === undefined && !err;
      code = await this.#simple(
        command.words,
        plain ? this.#io : {
          input: given === undefined ? this.#io.input : () => Promise.resolve(given),
          out: outTo,
          err: err === "other" ? outTo : err ? file(err) : this.#io.err,
        },
      );
      for (const [target, pieces] of files) {
        if (target === "other") continue;
        Deno.writeFileSync(target.path, await joined(pieces), { append: target.append });
      }
      input = await joined(piped);
    }
    return code;
  }

  async #simple(words: string[], io: Streams): Promise<number> {
    while (words.length && /^[A-Za-z_]\w*=/.test(words[0])) {
      const [name, ...value] = words[0].split("=");
      Deno.env.set(name, value.join("="));
      words = words.slice(1);
    }
    const [name, ...args] = words;
    if (name === undefined) return 0;
    if (name === "exit") throw new Exit(args[0] === undefined ? this.#last : Number(args[0]) & 255);
    if (name === "exec") {
      return args.length ? Promise.reject(new Exit(await this.#run(args, io))) : 0;
    }
    if (name === "cd") {
      Deno.chdir(args[0] ?? Deno.env.get("HOME") ?? "/");
      return 0;
    }
    if (name === "export") return args.length ? await this.#simple(args, io) : 0;
    if (name === "set" || name === "trap" || name === "wait" || name === "umask") return 0;
    return await this.#run(words, io);
  }
}

function blank(): Simple {
  return { words: [], into: {} };
}

async function joined(pieces: Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
}

/** Words and signs of a script; variables are replaced as words are read. */
function tokenise(script: string, variable: (name: string) => string): Token[] {
  const tokens: Token[] = [];
  let word: string | undefined;
  let i = 0;
  const end = () => {
    if (word !== undefined) tokens.push({ word });
    word = undefined;
  };
  const dollar = (): string => {
    const rest = script.slice(i + 1);
    const match = /^(?:\{([A-Za-z_]\w*|[?$@*\d])\}|([A-Za-z_]\w*|[?$@*\d]))/.exec(rest);
    if (rest.startsWith("(")) throw new SyntaxProblem('"$(" is not supported');
    if (!match) return "$";
    i += match[0].length;
    return variable(match[1] ?? match[2]);
  };
  for (; i < script.length; i++) {
    const c = script[i];
    if (c === "'") {
      const close = script.indexOf("'", i + 1);
      if (close < 0) throw new SyntaxProblem("unterminated quoted string");
      word = (word ?? "") + script.slice(i + 1, close);
      i = close;
    } else if (c === '"') {
      word ??= "";
      for (i++; script[i] !== '"'; i++) {
        if (i >= script.length) throw new SyntaxProblem("unterminated quoted string");
        if (script[i] === "\\" && '"\\$`'.includes(script[i + 1])) word += script[++i];
        else word += script[i] === "$" ? dollar() : script[i];
      }
    } else if (c === "\\") {
      word = (word ?? "") + (script[++i] ?? "");
    } else if (c === "$") {
      word = (word ?? "") + dollar();
    } else if (c === "`") {
      throw new SyntaxProblem('"`" is not supported');
    } else if (/\s/.test(c)) {
      end();
      if (c === "\n") tokens.push({ sign: ";" });
    } else if (c === "#" && word === undefined) {
      while (i + 1 < script.length && script[i + 1] !== "\n") i++;
    } else if (";|&<>()".includes(c)) {
      const [arrow] = /^>(>|&[12])?/.exec(script.slice(i)) ?? [];
      const numbered = arrow !== undefined && (word === "1" || word === "2");
      const stream = numbered ? word : "1";
      if (numbered) word = undefined;
      end();
      const two = script.slice(i, i + 2);
      const sign = arrow ?? (["&&", "||"].includes(two) ? two : c);
      i += sign.length - 1;
      tokens.push({ sign: arrow === undefined ? sign : `${stream}${arrow}` });
    } else word = (word ?? "") + c;
  }
  end();
  return tokens;
}
