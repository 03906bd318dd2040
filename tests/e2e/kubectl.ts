/** kubectl as a process of its own, as a person would call it. */

/** What it did. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** What it is given beside its arguments. */
export interface Given {
  /** What it reads: a text, or an object as JSON (nothing). */
  input?: string | object;
  /** Another one than that of the PATH. */
  program?: string;
}

/** Runs it to its end. */
export async function runKubectl(
  kubeconfig: string,
  args: readonly string[],
  { input, program = "kubectl" }: Given = {},
): Promise<Said> {
  const process = new Deno.Command(program, {
    args: ["--kubeconfig", kubeconfig, ...args],
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const text = typeof input === "string" ? input : JSON.stringify(input);
    const writer = process.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  }
  const { code, stdout, stderr } = await process.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** What it prints; rejects with what it says when it fails. */
export async function kubectl(
  kubeconfig: string,
  args: readonly string[],
  input?: Given["input"],
): Promise<string> {
  const { code, out, err } = await runKubectl(kubeconfig, args, { input });
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${err.trim()}`);
  return out;
}
