/** From one state of a machine's NetworkPolicies to the next, as text for `nft -f`. Pure. */
import { type Elements, removal, statements, tableOf } from "./nftables_table.ts";
import type { PolicyTable } from "./policy_rules.ts";
import type { Family } from "./traffic.ts";

/** What the table is made for. */
export interface PolicyTableOptions {
  family: Family;
  name: string;
  /** Pods' ranges: what goes there although this machine takes it in itself is for an isolate. */
  podRanges: readonly string[];
}

/** The transaction; empty when nothing changed. Without `before` all of the table is made, in place of any other. */
export function policyScript(
  before: PolicyTable | undefined,
  after: PolicyTable,
  options: PolicyTableOptions,
): string {
  const table = tableOf(options);
  if (before && same(before.chains, after.chains) && same(before.sets, after.sets)) {
    return changes(before.elements, after.elements, table).join("\n");
  }
  // A table nobody is guarded by is not made: packets do not pass it.
  if (after.chains.size === 0) return before?.chains.size === 0 ? "" : removal(table);
  const lines = [...after.chains].flatMap(([name, rules]) =>
    rules.map((rule) => `add rule ${table} ${name} ${rule}`)
  );
  return [whole(after, options), ...lines, ...changes(new Map(), after.elements, table)].join("\n");
}

function same(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size &&
    [...a].every(([name, value]) => String(value) === String(b.get(name)));
}

function changes(before: Elements, after: Elements, table: string): string[] {
  const gone = [...before].filter(([id, value]) => after.get(id) !== value);
  const come = [...after].filter(([id, value]) => before.get(id) !== value);
  return [
    ...statements("delete", table, gone.map(([id]) => [id, ""])),
    ...statements("add", table, come),
  ];
}

/**
 * The table with empty chains. A base chain's accept ends that chain alone: egress is judged first, then ingress. What
 * this machine sends passes neither; what it takes in passes them where it is for an isolate.
 */
function whole({ chains, sets }: PolicyTable, options: PolicyTableOptions): string {
  const [ip, addr] = options.family === 4 ? ["ip", "ipv4_addr"] : ["ip6", "ipv6_addr"];
  const table = tableOf(options);
  const isolates = `${ip} daddr { ${options.podRanges.join(", ")} } `;
  const base = (direction: string, field: string, hook: string, priority: number, only: string) => `
  chain ${direction}-${hook} {
    type filter hook ${hook} priority ${priority};
    ct state established,related accept
    ${ip} saddr . ${ip} daddr @themselves accept
    ${only}${ip} ${field} vmap @${direction}-pods
  }`;
  return `${removal(table)}table ${table} {
  map ingress-pods { type ${addr} : verdict; }
  map egress-pods { type ${addr} : verdict; }
  set themselves { type ${addr} . ${addr}; }
${[...sets].map(([name, type]) => `  set ${name} { type ${type}; }`).join("\n")}
${[...chains.keys()].map((name) => `  chain ${name} { }`).join("\n")}
${base("egress", "saddr", "forward", -12, "")}
${base("ingress", "daddr", "forward", -11, "")}
${base("egress", "saddr", "input", -12, isolates)}
${base("ingress", "daddr", "input", -11, 'iifname != "lo" ')}
}
`;
}
