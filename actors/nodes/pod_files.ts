/**
 * The files that every pod finds without asking: /etc/hosts and /etc/resolv.conf, and its host name.
 * Pure; in upstream's layout (`pkg/kubelet/kubelet_pods.go`, `network/dns/dns.go`).
 */
import type { NodeFacts } from "./ports.ts";
import type { Pod } from "./types.ts";

/** The pod's host name: at most 63 characters, as a label must be. */
export function hostnameOf(pod: Pod, domain: string): string {
  if (pod.spec.hostnameOverride !== undefined) return pod.spec.hostnameOverride;
  const name = (pod.spec.hostname || pod.metadata.name).slice(0, 63).replace(/[-.]+$/, "");
  if (!pod.spec.setHostnameAsFQDN || !pod.spec.subdomain) return name;
  return `${name}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${domain}`;
}

/** How the file of a pod begins that shares its node's network. */
export const HOST_NETWORK_HEAD = "# Kubernetes-managed hosts file (host network).";

/** /etc/hosts. `localhost` is the pod's own address where pods share the machine's loopback (`shared`). */
export function hostsFile(
  pod: Pod,
  ips: readonly string[],
  domain: string,
  shared = true,
): string {
  const name = hostnameOf(pod, domain);
  const lines = [
    pod.spec.hostNetwork ? HOST_NETWORK_HEAD : "# Kubernetes-managed hosts file.",
    ...(shared
      ? [`${ips[0] ?? "127.0.0.1"}\tlocalhost`]
      : ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]),
    "fe00::0\tip6-localnet",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
  ];
  const { subdomain } = pod.spec;
  for (const ip of ips) {
    const full = subdomain && !name.includes(".")
      ? `${name}.${subdomain}.${pod.metadata.namespace}.svc.${domain}\t`
      : "";
    lines.push(`${ip}\t${full}${name}`);
  }
  if (pod.spec.hostAliases?.length) {
    lines.push("", "# Entries added by HostAliases.");
    for (const { ip, hostnames } of pod.spec.hostAliases) {
      lines.push(`${ip}\t${(hostnames ?? []).join("\t")}`);
    }
  }
  return lines.join("\n") + "\n";
}

/** What resolvers read of a resolv.conf: name servers, domains to search in, and their characters. */
export const NAMESERVERS_MAX = 3;
export const SEARCHES_MAX = 32;
export const SEARCH_CHARS_MAX = 2048;
/** Of one domain. */
const DOMAIN_CHARS_MAX = 253;

/** The first domains that are read; those too long to be any are left out. */
function fitting(searches: readonly string[]): string[] {
  const some = searches.filter(({ length }) => length <= DOMAIN_CHARS_MAX).slice(0, SEARCHES_MAX);
  while (some.join(" ").length > SEARCH_CHARS_MAX) some.pop();
  return some;
}

/** /etc/resolv.conf by the pod's DNS policy. `host` is the machine's own. */
export function resolvFile(pod: Pod, node: NodeFacts, host: string): string {
  const { dnsPolicy = "ClusterFirst", hostNetwork, dnsConfig } = pod.spec;
  const own = parseResolv(host);
  let servers: string[] = [], searches: string[] = [];
  const options = new Map<string, string | undefined>();
  const cluster = dnsPolicy === "ClusterFirstWithHostNet" ||
    (dnsPolicy === "ClusterFirst" && !hostNetwork);
  if (cluster && node.dnsIP) {
    servers = [node.dnsIP];
    const { namespace } = pod.metadata;
    searches = [`${namespace}.svc.${node.domain}`, `svc.${node.domain}`, node.domain];
    searches.push(...own.searches);
    options.set("ndots", "5");
  } else if (dnsPolicy !== "None") {
    servers = own.servers;
    searches = own.searches;
    for (const option of own.options) {
      const [name, value] = option.split(":");
      options.set(name, value);
    }
  }
  servers = [...new Set([...servers, ...(dnsConfig?.nameservers ?? [])])].slice(0, NAMESERVERS_MAX);
  searches = fitting([...new Set([...searches, ...(dnsConfig?.searches ?? [])])]);
  for (const { name, value } of dnsConfig?.options ?? []) options.set(name, value);
  let text = "";
  if (searches.length) text += `search ${searches.join(" ")}\n`;
  for (const server of servers) text += `nameserver ${server}\n`;
  const words = [...options].map(([name, value]) =>
    value === undefined ? name : `${name}:${value}`
  );
  if (words.length) text += `options ${words.join(" ")}\n`;
  return text;
}

/** What a resolv.conf says. */
export function parseResolv(text: string) {
  const result = { servers: [] as string[], searches: [] as string[], options: [] as string[] };
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "nameserver") result.servers.push(...rest);
    else if (word === "search") result.searches = rest;
    else if (word === "options") result.options.push(...rest);
  }
  return result;
}
