/** The programs `nft`, `conntrack` and `ip`, and the settings of the kernel that a proxy of rules needs. */

/** What the network's actors ask of the machine; all of it within one network namespace. */
export interface Netfilter {
  /** Carries out a script of nft's as one transaction. */
  apply(script: string): Promise<void>;
  /** What nft's or conntrack's command prints. */
  ask(program: "nft" | "conntrack", args: readonly string[]): Promise<string>;
}

/** The machine's own, or those of a network namespace by its name (`ip netns exec` would hide the machine's cgroups). */
export function netfilter(namespace?: string): Netfilter {
  const run = (program: string, args: readonly string[], input?: string) =>
    namespace
      ? output("nsenter", [`--net=/run/netns/${namespace}`, program, ...args], input)
      : output(program, args, input);
  return {
    apply: async (script) => void await run("nft", ["-f", "-"], script),
    ask: (program, args) => run(program, args),
  };
}

/** What a program prints. Rejects with what it says when it fails. */
export async function output(
  program: string,
  args: readonly string[],
  input?: string,
): Promise<string> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    // A program that ends early breaks the pipe: what it says on its way out counts.
    await writer.write(new TextEncoder().encode(input)).then(() => writer.close(), () => undefined);
  }
  const { success, code, stdout, stderr } = await child.output();
  if (success) return new TextDecoder().decode(stdout);
  const said = new TextDecoder().decode(stderr).trim().split("\n").slice(0, 3).join(" ");
  throw new Error(`${program} ${args.join(" ")} failed (${code}): ${said}`);
}

/** Whether this process may write rules here. */
export async function mayFilter(): Promise<boolean> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return false;
  return await netfilter().ask("nft", ["list", "tables"]).then(() => true, () => false);
}

const BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-iptables";
const FORWARD = "/proc/sys/net/ipv4/ip_forward";

/** Lets this machine forward packets. Resolves with whether those between ports of a bridge pass its rules. */
export async function letForward(): Promise<boolean> {
  await Deno.writeTextFile(FORWARD, "1");
  return await Deno.writeTextFile(BRIDGED, "1").then(() => true, () => false);
}

/** The same of IPv6, between ports of a bridge too. */
export async function letForwardSix(): Promise<void> {
  await Deno.writeTextFile("/proc/sys/net/ipv6/conf/all/forwarding", "1");
  await Deno.writeTextFile(BRIDGED.replace("iptables", "ip6tables"), "1").catch(() => undefined);
}

/**
 * Seconds for which the kernel keeps what it knows of TCP connections: kube-proxy's. After the kernel's own minute for
 * those that one side has closed, the other's packets would no longer be translated.
 */
const FLOW_SECONDS = { established: 86_400, close_wait: 3_600 };

/** Lets the kernel know connections for as long as a proxy needs that. */
export async function keepFlows(): Promise<void> {
  // Asking loads the kernel's module, without which there are no such settings
  await netfilter().ask("conntrack", ["-C"]).catch(() => undefined);
  for (const [state, seconds] of Object.entries(FLOW_SECONDS)) {
    const file = `/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_${state}`;
    await Deno.writeTextFile(file, `${seconds}`).catch(() => undefined);
  }
}
