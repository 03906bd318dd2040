/** From one state of a machine's NetworkPolicies to the next, as text for `nft -f`. Pure. */
import { type Elements, removal, statements, tableOf } from "./nftables_table.ts";
import { MARK, MARK_MASK, type PolicyTable } from "./policy_rules.ts";
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
  const alike = before && isMade(before) === isMade(after);
  if (alike && same(before.chains, after.chains) && same(before.sets, after.sets)) {
    return changes(before.elements, after.elements, table).join("\n");
  }
  if (!isMade(after)) return removal(table);
  const lines = [...after.chains].flatMap(([name, rules]) =>
    rules.map((rule) => `add rule ${table} ${name} ${rule}`)
  );
  return [whole(after, options), ...lines, ...changes(new Map(), after.elements, table)].join("\n");
}

function same(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): boolean {
  return a.size === b.size &&
    [...a].every(([name, value]) => String(value) === String(b.get(name)));
}

/** A table that nobody is guarded by, nor known by, is not made: packets do not pass it. */
function isMade({ chains, elements }: PolicyTable): boolean {
  return chains.size + elements.size > 0;
}

function changes(before: Elements, after: Elements, table: string): string[] {
  const [old, now] = [before, after].map((all) => [...all].filter(([id]) => isSender(id)));
  const isSame = String(old) === String(now);
  const others = (all: Elements) => [...all].filter(([id]) => !isSender(id));
  const gone = others(before).filter(([id, value]) => after.get(id) !== value);
  const come = others(after).filter(([id, value]) => before.get(id) !== value);
  return [
    ...statements("delete", table, gone.map(([id]) => [id, ""])),
    ...statements("add", table, come),
    // A group that has gone has no name any more by which it could be taken out.
    ...isSame || old.length === 0 ? [] : [`flush map ${table} senders`],
    ...isSame ? [] : statements("add", table, now),
  ];
}

function isSender(id: string): boolean {
  return id.startsWith("senders ");
}

/** Below `plesio`, the group of all isolates' groups, lies the pod's. */
const GROUP_LEVEL = 2;

/**
 * The table with empty chains. A base chain's accept ends that chain alone: egress is judged first, then ingress. What
 * this machine itself sends passes neither; what it takes in passes them where it is for an isolate, and what an isolate
 * sends is judged where it leaves: egress by its mark, then it takes its pod's address on its way to another, before
 * anybody masquerades it, then ingress.
 */
function whole({ chains, sets }: PolicyTable, options: PolicyTableOptions): string {
  const [ip, addr] = options.family === 4 ? ["ip", "ipv4_addr"] : ["ip6", "ipv6_addr"];
  const table = tableOf(options);
  const pods = `${ip} daddr { ${options.podRanges.join(", ")} }`;
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
  map senders { type cgroupsv2 : mark; }
  map senders-egress { type mark : verdict; }
  map sources { type mark : ${addr}; }
  set themselves-sent { type mark . ${addr}; }
${[...sets].map(([name, type]) => `  set ${name} { type ${type}; }`).join("\n")}
${[...chains.keys()].map((name) => `  chain ${name} { }`).join("\n")}
${base("egress", "saddr", "forward", -12, "")}
${base("ingress", "daddr", "forward", -11, "")}
${base("egress", "saddr", "input", -12, `${pods} `)}
${base("ingress", "daddr", "input", -11, 'iifname != "lo" ')}
  chain senders-output {
    type filter hook output priority mangle;
    ct state new ct mark set socket cgroupv2 level ${GROUP_LEVEL} map @senders
  }
  chain egress-output {
    type filter hook output priority -12;
    ct state established,related accept
    ct mark . ${ip} daddr @themselves-sent accept
    fib daddr type local ${ip} daddr != { ${options.podRanges.join(", ")} } accept
    ct mark vmap @senders-egress
  }
  chain sources-postrouting {
    type nat hook postrouting priority srcnat - 1;
    ct state new ${pods} snat to ct mark map @sources
  }
${base("ingress", "daddr", "postrouting", 110, `ct mark and ${MARK_MASK} == ${MARK} `)}
}
`;
}
