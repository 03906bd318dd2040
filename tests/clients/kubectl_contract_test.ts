/**
 * Every line of CLIENTS.md 6.1 by the real kubectl: the one on the PATH (`KUBECTL`), and a newer one where there is
 * (`KUBECTL_NEWER`). A proxy tells what it sent and how it was answered.
 */
import { freePort, Server } from "../e2e/server.ts";
import { type Command, KUBECTL_LINES } from "./kubectl_contract_data.ts";
import { type Exchange, Wire } from "./wire.ts";

const CI = Deno.env.get("CI") === "true";
const PROGRAMS = [Deno.env.get("KUBECTL") ?? "kubectl", Deno.env.get("KUBECTL_NEWER")]
  .filter((program) => program !== undefined);

interface Said {
  code: number;
  text: string;
}

/** Splits at spaces: no command here has an argument with one. */
async function runKubectl(program: string, folder: string, command: Command): Promise<Said> {
  const forwards = command.run.startsWith("port-forward");
  const local = forwards ? freePort() : 0;
  const args = command.run.replace(" :8080", ` ${local}:8080`).split(" ");
  const child = new Deno.Command(program, {
    args: ["--kubeconfig", `${folder}/kubeconfig`, "--cache-dir", `${folder}/cache`, ...args],
    env: { HOME: folder, ...command.env },
    stdin: command.input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (command.input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(command.input));
    await writer.close();
  }
  let through = "";
  if (forwards) through = await fetchUntil(`http://127.0.0.1:${local}/`, command.endsMs!);
  const end = () => child.kill("SIGTERM");
  const timer = setTimeout(end, forwards ? 100 : command.endsMs ?? 60_000);
  const { code, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) + through };
}

async function fetchUntil(url: string, withinMs: number): Promise<string> {
  const until = Date.now() + withinMs;
  while (Date.now() < until) {
    const headers = { connection: "close" };
    const answer = await fetch(url, { headers }).catch(() => undefined);
    if (answer) return `through: ${await answer.text()}`;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return "nothing came through";
}

/** One exchange as a line of text, as the patterns want it. */
function lineOf({ method, path, headers, body, status, type }: Exchange): string {
  const of = (name: string) => headers[name] ? String(headers[name]) : "";
  const websocket = of("sec-websocket-protocol");
  const spdy = of("x-stream-protocol-version");
  return `${method} ${path} ct=${of("content-type")} accept=${of("accept")}` +
    `${websocket && ` ws=${websocket}`}${spdy && ` spdy=${spdy}`} -> ${status} ${type} body=` +
    body.replaceAll(/[^\x20-\x7e]/g, ".");
}

/** What is wrong with a command; empty when nothing is. */
function problems(command: Command, said: Said, lines: readonly string[]): string {
  const wrong: string[] = [];
  if (!command.endsMs && said.code !== (command.code ?? 0)) wrong.push(`exit code ${said.code}`);
  for (const pattern of command.says ?? []) {
    if (!pattern.test(said.text)) wrong.push(`does not say ${pattern}`);
  }
  let from = 0;
  for (const pattern of command.wire) {
    const at = lines.findIndex((line, i) => i >= from && pattern.test(line));
    if (at < 0) wrong.push(`no request like ${pattern}`);
    else from = at + 1;
  }
  if (wrong.length === 0) return "";
  return `kubectl ${command.run}: ${wrong.join("; ")}\n${said.text}\n${lines.join("\n")}`;
}

async function versionOf(program: string): Promise<string> {
  const asked = new Deno.Command(program, { args: ["version", "--client"] }).output();
  const { success, stdout } = await asked.catch(() => ({
    success: false,
    stdout: new Uint8Array(),
  }));
  return success ? /v\d+\.\d+/.exec(new TextDecoder().decode(stdout))?.[0] ?? "" : "";
}

for (const program of PROGRAMS) {
  const version = await versionOf(program);
  Deno.test({
    name: `CLIENTS.md 6.1 by kubectl ${version || "(none on the PATH)"}`,
    ignore: version === "" && !CI,
    async fn(t) {
      await using server = await Server.start();
      await using wire = await Wire.open(server.access);
      const folder = await Deno.makeTempDir({ prefix: "plesio-kubectl-" });
      await Deno.writeTextFile(`${folder}/kubeconfig`, wire.kubeconfig);
      for (const { line, commands } of KUBECTL_LINES) {
        await t.step(line, async () => {
          for (const command of commands) {
            const from = wire.exchanges.length;
            wire.hidden = command.hides;
            const said = await runKubectl(program, folder, command);
            const wrong = problems(command, said, wire.exchanges.slice(from).map(lineOf));
            if (wrong) throw new Error(wrong);
          }
        });
      }
      await Deno.remove(folder, { recursive: true });
    },
  });
}
