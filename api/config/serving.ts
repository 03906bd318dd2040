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
  /** Where Services get their addresses. */
  serviceRange?: string;
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
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]+?-----END \1-----/g;

/** The options that files and flags ask for. Throws UsageError for what is no certificate, key or range. */
export function servingOptions(texts: ServingTexts): ServingOptions {
  const options: ServingOptions = {};
  const { clientCa, tlsCert, tlsKey, issuers = [], serviceRange } = texts;
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
  if (serviceRange !== undefined) options.serviceRange = range(serviceRange);
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

/** Prefix lengths a range of Services may have. */
const PREFIX_MIN = 12;
const PREFIX_MAX = 28;
const PREFIX6_MIN = 108;
const PREFIX6_MAX = 124;

/** One range of IPv4, and one of IPv6 after a comma for a cluster of both families. */
function range(text: string): string {
  const [first, second, ...more] = text.split(",").map((one) => one.trim());
  range4(first);
  if (second === undefined) return first;
  if (more.length > 0) {
    throw new UsageError(`--service-cluster-ip-range must hold one or two CIDRs, not "${text}"`);
  }
  const cidr = second.includes(":") ? parseCidr(second) : undefined;
  if (!cidr) {
    throw new UsageError(
      `--service-cluster-ip-range: the second must be an IPv6 CIDR, not "${second}"`,
    );
  }
  if (cidr.bits < PREFIX6_MIN || cidr.bits > PREFIX6_MAX) {
    throw new UsageError(
      `--service-cluster-ip-range must have a prefix from ${PREFIX6_MIN} to ${PREFIX6_MAX}, not "${second}"`,
    );
  }
  if (!sameIp(masked(cidr), cidr.ip)) {
    throw new UsageError(`--service-cluster-ip-range "${second}" does not begin at its own prefix`);
  }
  return `${first},${formatCidr(cidr)}`;
}

function range4(text: string): void {
  const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(text);
  const [a, b, c, d, prefix] = match?.slice(1).map(Number) ?? [];
  if (!match || [a, b, c, d].some((byte) => byte > 255)) {
    throw new UsageError(`--service-cluster-ip-range must be an IPv4 CIDR, not "${text}"`);
  }
  if (prefix < PREFIX_MIN || prefix > PREFIX_MAX) {
    throw new UsageError(
      `--service-cluster-ip-range must have a prefix from ${PREFIX_MIN} to ${PREFIX_MAX}, not "${text}"`,
    );
  }
  const base = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
  if (base % 2 ** (32 - prefix) !== 0) {
    throw new UsageError(`--service-cluster-ip-range "${text}" does not begin at its own prefix`);
  }
}

/** The address at `offset` in the first range that `servingOptions` accepted. */
export function addressIn(serviceRange: string, offset: number): string {
  const [a, b, c, d] = serviceRange.split("/")[0].split(".").map(Number);
  const number = a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d + offset;
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");
}
