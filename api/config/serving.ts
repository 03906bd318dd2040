/**
 * Certificates, keys and ranges that come from outside instead of being the cluster's own: what kube-apiserver's
 * flags of the same names give it. Pure: texts of files come in, options come out.
 */
import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { algorithmOf } from "../auth/jwt.ts";
import { formatCidr, masked, parseCidr, sameIp } from "../machinery/ip.ts";
import { UsageError } from "./flags.ts";

/** Options of this page. Each has the cluster's own as its default. */
export interface ServingOptions {
  /** Certificate chain and key to serve with (PEM). */
  serving?: { cert: string; key: string };
  /** Authorities whose client certificates are good, beside the cluster's own (PEM). */
  clientAuthorities?: string;
  /** Of ServiceAccount tokens. */
  serviceAccounts?: {
    /** The first issues; the others' tokens are good too. */
    issuers?: readonly string[];
    /** Private key that signs (PEM). */
    signingKey?: string;
    /** Public keys or certificates that verify too (PEM). */
    verifiers?: readonly string[];
  };
  /** Where Services get their addresses: an IPv4 range, and perhaps an IPv6 one after a comma. */
  serviceRange?: string;
  /** Where pods do. */
  clusterCidr?: string;
}

/** The texts of the files, and the values of the flags beside them. */
export interface ServingTexts {
  clientCa?: string;
  tlsCert?: string;
  tlsKey?: string;
  tokenKeys?: string;
  signingKey?: string;
  issuers?: readonly string[];
  serviceRange?: string;
  clusterCidr?: string;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/g;

/** The options that files and flags ask for. Throws UsageError for what is no certificate, key or range. */
export function servingOptions(texts: ServingTexts): ServingOptions {
  const options: ServingOptions = {};
  const { clientCa, tlsCert, tlsKey, issuers = [], serviceRange, clusterCidr } = texts;
  if (clientCa !== undefined) {
    const found = blocks(clientCa).filter(({ label }) => label === "CERTIFICATE");
    if (found.length === 0) {
      throw new UsageError("--client-ca-file: data does not contain any valid certificates");
    }
    found.forEach(({ pem }) => certificate("client-ca-file", pem));
    options.clientAuthorities = found.map(({ pem }) => pem).join("\n");
  }
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new UsageError("--tls-cert-file and --tls-private-key-file go together");
  }
  if (tlsCert !== undefined && tlsKey !== undefined) {
    const leaf = certificate("tls-cert-file", tlsCert);
    if (!leaf.checkPrivateKey(secretKey("tls-private-key-file", tlsKey))) {
      throw new UsageError("--tls-private-key-file: private key does not match public key");
    }
    options.serving = { cert: tlsCert, key: tlsKey };
  }
  const { signingKey, tokenKeys } = texts;
  if (signingKey !== undefined) signs(signingKey);
  if (signingKey !== undefined || tokenKeys !== undefined || issuers.length > 0) {
    const verifiers = tokenKeys === undefined ? undefined : verifying(tokenKeys);
    options.serviceAccounts = { issuers, signingKey, verifiers };
  }
  if (serviceRange) options.serviceRange = rangesOf("service-cluster-ip-range", serviceRange);
  if (clusterCidr) options.clusterCidr = rangesOf("cluster-cidr", clusterCidr);
  return options;
}

function blocks(text: string): { label: string; pem: string }[] {
  return [...text.matchAll(BLOCK)].map(([pem, label]) => ({ label, pem }));
}

function certificate(flag: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new UsageError(`--${flag}: failed to find any PEM data in certificate input`);
  }
}

function secretKey(flag: string, pem: string) {
  try {
    return createPrivateKey(pem);
  } catch {
    throw new UsageError(`--${flag}: failed to find any PEM data in key input`);
  }
}

function signs(pem: string): void {
  try {
    algorithmOf(secretKey("service-account-signing-key-file", pem));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`--service-account-signing-key-file: ${(error as Error).message}`);
  }
}

/** Public keys; where a private key or a certificate stands, the public key in it. */
function verifying(text: string): string[] {
  const found = blocks(text).filter(({ label }) => label !== "EC PARAMETERS").map(
    ({ label, pem }) => {
      try {
        const source = label === "CERTIFICATE" ? new X509Certificate(pem).publicKey : pem;
        const key = typeof source === "string" ? createPublicKey(source) : source;
        algorithmOf(key);
        return key.export({ type: "spki", format: "pem" }) as string;
      } catch {
        throw new UsageError(`--service-account-key-file: data contains a ${label} that is no key`);
      }
    },
  );
  if (found.length === 0) {
    throw new UsageError(
      "--service-account-key-file: data does not contain any valid RSA or ECDSA public keys",
    );
  }
  return found;
}

/** Prefix lengths that ranges may have, by family. Nodes get parts of /24 and of /64. */
const PREFIXES = {
  "service-cluster-ip-range": { 4: [12, 28], 6: [108, 124] },
  "cluster-cidr": { 4: [8, 24], 6: [48, 63] },
} as const;

/** One range of IPv4, and one of IPv6 after a comma for a cluster of both families. */
function rangesOf(flag: keyof typeof PREFIXES, text: string): string {
  const [first, second, ...more] = text.split(",").map((one) => one.trim());
  const four = range(flag, first, 4);
  if (second === undefined) return four;
  if (more.length > 0) throw new UsageError(`--${flag} must hold one or two CIDRs, not "${text}"`);
  return `${four},${range(flag, second, 6)}`;
}

function range(flag: keyof typeof PREFIXES, text: string, family: 4 | 6): string {
  const cidr = parseCidr(text);
  if (cidr?.ip.family !== family) {
    const what = family === 4 ? "be an IPv4 CIDR" : "have an IPv6 CIDR as its second";
    throw new UsageError(`--${flag} must ${what}, not "${text}"`);
  }
  const [min, max] = PREFIXES[flag][family];
  if (cidr.bits < min || cidr.bits > max) {
    throw new UsageError(`--${flag} must have a prefix from ${min} to ${max}, not "${text}"`);
  }
  if (!sameIp(masked(cidr), cidr.ip)) {
    throw new UsageError(`--${flag} "${text}" does not begin at its own prefix`);
  }
  return formatCidr(cidr);
}

/** The address at `offset` in the first range that `servingOptions` accepted. */
export function addressIn(serviceRange: string, offset: number): string {
  const [a, b, c, d] = serviceRange.split("/")[0].split(".").map(Number);
  const number = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d + offset;
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}

/** Hosts that stand for all addresses of the machine. */
export const EVERY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/** The first address of a machine that others may reach. */
export function firstAddress(interfaces: readonly Deno.NetworkInterfaceInfo[]): string {
  const found = interfaces.find(({ family, address }) =>
    family === "IPv4" && !address.startsWith("127.") && !address.startsWith("10.244.")
  );
  return found?.address ?? "127.0.0.1";
}

/** Where a server is. */
export function urlOf({ host, port }: { host: string; port: number }): string {
  return `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** How a cluster is reached over the network. */
export interface ListenOptions {
  /** Default 127.0.0.1: nothing beyond this machine unless asked. */
  host?: string;
  /** Default 6443; 0 takes a free one. */
  port?: number;
  /** The address that others are told; default: `host`, or where that is every address, this machine's first. */
  advertise?: string;
  /** Further names of the server's certificate. */
  names?: readonly string[];
  /** Where other processes of the cluster reach this one (default: where all do). */
  peer?: { ip?: string; port?: number };
  /** Called when the administrator's certificate was renewed: kubeconfigs are to be written anew. */
  renewed?: () => void;
  /** Listen although the clock is manual: clients' time and the cluster's will differ. */
  underManualClock?: boolean;
}
