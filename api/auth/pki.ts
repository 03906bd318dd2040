/**
 * The cluster's certificates: its authority, and what that signs for servers, people, nodes and certificate
 * requests. ECDSA P-256; keys and certificates travel as PEM.
 *
 * Nothing here reads a clock of its own or keeps state. The library is loaded at first use: a cluster that
 * restarts with its certificates still good never loads it.
 */
import { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import { AUTHORITY_DAYS, CERTIFICATE_DAYS, ROTATE_AT } from "./limits.ts";

/** A certificate with its private key. */
export interface Issued {
  certificatePem: string;
  /** PKCS #8. */
  keyPem: string;
  /** Wall time in ms. */
  notBefore: number;
  notAfter: number;
}

/** Whom a certificate names. */
export interface CertificateSubject {
  commonName?: string;
  organizations: readonly string[];
}

/** What a key may be used for, in the words of `certificates.k8s.io`: bits of the key usage extension. */
const KEY_USAGES: Readonly<Record<string, number>> = {
  "signing": 0x1,
  "digital signature": 0x1,
  "content commitment": 0x2,
  "key encipherment": 0x4,
  "data encipherment": 0x8,
  "key agreement": 0x10,
  "cert sign": 0x20,
  "crl sign": 0x40,
  "encipher only": 0x80,
  "decipher only": 0x100,
};

/** The same for the extended key usage extension: object identifiers. */
const EXTENDED_USAGES: Readonly<Record<string, string>> = {
  "any": "2.5.29.37.0",
  "server auth": "1.3.6.1.5.5.7.3.1",
  "client auth": "1.3.6.1.5.5.7.3.2",
  "code signing": "1.3.6.1.5.5.7.3.3",
  "email protection": "1.3.6.1.5.5.7.3.4",
  "s/mime": "1.3.6.1.5.5.7.3.4",
  "ipsec end system": "1.3.6.1.5.5.7.3.5",
  "ipsec tunnel": "1.3.6.1.5.5.7.3.6",
  "ipsec user": "1.3.6.1.5.5.7.3.7",
  "timestamping": "1.3.6.1.5.5.7.3.8",
  "ocsp signing": "1.3.6.1.5.5.7.3.9",
  "microsoft sgc": "1.3.6.1.4.1.311.10.3.3",
  "netscape sgc": "2.16.840.1.113730.4.1",
};

/** A usage in the words of `certificates.k8s.io`; unknown ones are an error when signing. */
export type Usage = string;

const DAY_MS = 24 * 3600 * 1000;
/** Certificates begin a little earlier, for readers whose clocks are behind. */
const BACKDATE_MS = 5 * 60 * 1000;
/** Requests for a life no longer than this get all of it. */
const SHORT_MS = 8 * 3600 * 1000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

async function library() {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}

/** The names a server of this cluster answers to besides the hosts it was given. */
export function serverNames(options: {
  serviceIp?: string;
  hosts?: readonly string[];
  domain?: string;
}): string[] {
  const domain = options.domain ?? "cluster.local";
  return [
    ...new Set([
      "localhost",
      "127.0.0.1",
      "::1",
      "kubernetes",
      "kubernetes.default",
      "kubernetes.default.svc",
      `kubernetes.default.svc.${domain}`,
      ...(options.serviceIp ? [options.serviceIp] : []),
      ...options.hosts ?? [],
    ]),
  ];
}

/** Makes an authority that signs itself: the root everything in the cluster trusts. */
export async function createAuthority(
  clock: Clock,
  options: { commonName?: string; days?: number } = {},
): Promise<Issued> {
  const x509 = await library();
  const keys = await generateKeys();
  const span = validity(clock, options.days ?? AUTHORITY_DAYS);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(clock),
    name: [{ CN: [options.commonName ?? "plesio-ca"] }],
    notBefore: new Date(span.notBefore),
    notAfter: new Date(span.notAfter),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment |
          x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificatePem: pem(certificate), keyPem: await exportKey(keys.privateKey), ...span };
}

/**
 * Vouches for a new authority by an old one: who trusts only the old one follows this certificate (PEM) from what the
 * new one signed.
 */
export async function crossSign(old: Issued, next: Issued, clock: Clock): Promise<string> {
  const x509 = await library();
  const root = new x509.X509Certificate(old.certificatePem);
  const subject = new x509.X509Certificate(next.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(clock),
    subject: subject.subject,
    issuer: root.subject,
    notBefore: new Date(next.notBefore),
    notAfter: new Date(Math.min(next.notAfter, old.notAfter)),
    signingAlgorithm: ALGORITHM,
    publicKey: await subject.publicKey.export(),
    signingKey: await importKey(old.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment |
          x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(await subject.publicKey.export()),
      await x509.AuthorityKeyIdentifierExtension.create(root),
    ],
  });
  return pem(certificate);
}

/** A certificate for servers, with the names of `serverNames`. Also good as a client's, as nodes need it. */
export async function issueServer(
  authority: Issued,
  clock: Clock,
  options: { commonName?: string; organizations?: readonly string[]; names: readonly string[] },
): Promise<Issued> {
  const keys = await generateKeys();
  const certificate = await sign(authority, clock, {
    subject: { commonName: options.commonName ?? "kube-apiserver", ...organizations(options) },
    publicKey: keys.publicKey,
    names: options.names,
    usages: ["digital signature", "key encipherment", "server auth"],
  });
  return { ...certificate, keyPem: await exportKey(keys.privateKey) };
}

/** A certificate that says who its holder is: `commonName` the user, `organizations` the groups. */
export async function issueClient(
  authority: Issued,
  clock: Clock,
  options: { commonName: string; organizations?: readonly string[]; days?: number },
): Promise<Issued> {
  const keys = await generateKeys();
  const certificate = await sign(authority, clock, {
    subject: { commonName: options.commonName, ...organizations(options) },
    publicKey: keys.publicKey,
    names: [],
    usages: ["digital signature", "key encipherment", "client auth"],
    expirationSeconds: (options.days ?? CERTIFICATE_DAYS) * 24 * 3600,
  });
  return { ...certificate, keyPem: await exportKey(keys.privateKey) };
}

function organizations(options: { organizations?: readonly string[] }) {
  return { organizations: options.organizations ?? [] };
}

/** A new key, and a request (PKCS #10, PEM) to certify that it is the subject's. */
export async function createRequest(
  { commonName, organizations = [] }: { commonName: string; organizations?: readonly string[] },
): Promise<{ requestPem: string; keyPem: string }> {
  const x509 = await library();
  const keys = await generateKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [...organizations.map((o) => ({ O: [o] })), { CN: [commonName] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { requestPem: pem(request), keyPem: await exportKey(keys.privateKey) };
}

/** What a certificate request asks for. */
export interface RequestFacts {
  subject: CertificateSubject;
  dnsNames: string[];
  ipAddresses: string[];
  emails: string[];
  uris: string[];
}

/** Reads a PKCS #10 request (PEM). Throws `TypeError` when it is none or its signature is wrong. */
export async function readRequest(requestPem: string): Promise<RequestFacts> {
  const { request } = await openRequest(requestPem);
  const facts: RequestFacts = {
    subject: subjectOf(request.subjectName),
    dnsNames: [],
    ipAddresses: [],
    emails: [],
    uris: [],
  };
  const x509 = await library();
  const names = request.extensions.find((e) => e instanceof x509.SubjectAlternativeNameExtension) as
    | InstanceType<typeof x509.SubjectAlternativeNameExtension>
    | undefined;
  for (const name of names?.names.items ?? []) {
    if (name.type === "dns") facts.dnsNames.push(name.value);
    else if (name.type === "ip") facts.ipAddresses.push(name.value);
    else if (name.type === "email") facts.emails.push(name.value);
    else if (name.type === "url") facts.uris.push(name.value);
  }
  return facts;
}

/** Signs a certificate request, with the names it asks for; returns the certificate as PEM. */
export async function signRequest(
  authority: Issued,
  clock: Clock,
  options: { requestPem: string; usages: readonly Usage[]; expirationSeconds?: number },
): Promise<string> {
  const { request } = await openRequest(options.requestPem);
  const facts = await readRequest(options.requestPem);
  const seconds = options.expirationSeconds ?? CERTIFICATE_DAYS * 24 * 3600;
  // A longer life ends earlier by as much as it begins early (upstream: authority/policies.go)
  const expirationSeconds = seconds * 1000 < SHORT_MS ? seconds : seconds - BACKDATE_MS / 1000;
  const { certificatePem } = await sign(authority, clock, {
    subject: facts.subject,
    publicKey: await request.publicKey.export(),
    names: [...facts.dnsNames, ...facts.ipAddresses],
    otherNames: [
      ...facts.emails.map((value) => ({ type: "email" as const, value })),
      ...facts.uris.map((value) => ({ type: "url" as const, value })),
    ],
    usages: options.usages,
    expirationSeconds,
  });
  return certificatePem;
}

async function openRequest(requestPem: string) {
  const x509 = await library();
  let request;
  try {
    request = new x509.Pkcs10CertificateRequest(requestPem);
  } catch (cause) {
    throw new TypeError("unable to parse the certificate request as PEM PKCS #10", { cause });
  }
  if (!(await request.verify().catch(() => false))) {
    throw new TypeError("the signature of the certificate request does not match its key");
  }
  return { request };
}

interface Wanted {
  subject: CertificateSubject;
  publicKey: CryptoKey;
  names: readonly string[];
  /** Names of a request that are neither hosts nor addresses. */
  otherNames?: readonly { type: "email" | "url"; value: string }[];
  usages: readonly Usage[];
  expirationSeconds?: number;
}

async function sign(authority: Issued, clock: Clock, wanted: Wanted): Promise<Issued> {
  const x509 = await library();
  const root = new x509.X509Certificate(authority.certificatePem);
  const days = (wanted.expirationSeconds ?? CERTIFICATE_DAYS * 24 * 3600) / (24 * 3600);
  const span = validity(clock, days);
  // Nothing outlives who vouches for it.
  span.notAfter = Math.min(span.notAfter, root.notAfter.getTime());
  const alternatives = [...wanted.names.map(alternativeName), ...wanted.otherNames ?? []];
  const { commonName, organizations } = wanted.subject;
  const { flags, extended } = usagesOf(wanted.usages);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(clock),
    subject: [
      ...organizations.map((o) => ({ O: [o] })),
      ...(commonName ? [{ CN: [commonName] }] : []),
    ],
    issuer: root.subject,
    notBefore: new Date(span.notBefore),
    notAfter: new Date(span.notAfter),
    signingAlgorithm: ALGORITHM,
    publicKey: wanted.publicKey,
    signingKey: await importKey(authority.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      ...(flags ? [new x509.KeyUsagesExtension(flags, true)] : []),
      ...(extended.length ? [new x509.ExtendedKeyUsageExtension(extended)] : []),
      await x509.AuthorityKeyIdentifierExtension.create(root),
      ...(alternatives.length ? [new x509.SubjectAlternativeNameExtension(alternatives)] : []),
    ],
  });
  return { certificatePem: pem(certificate), keyPem: "", ...span };
}

function usagesOf(usages: readonly Usage[]): { flags: number; extended: string[] } {
  const found = { flags: 0, extended: [] as string[] };
  for (const usage of usages) {
    const flag = KEY_USAGES[usage];
    const extended = EXTENDED_USAGES[usage];
    if (flag !== undefined) found.flags |= flag;
    else if (extended === undefined) {
      throw new TypeError(`unrecognized usage ${JSON.stringify(usage)}`);
    } else if (!found.extended.includes(extended)) found.extended.push(extended);
  }
  return found;
}

function alternativeName(value: string): { type: "dns" | "ip"; value: string } {
  const ip = /^\d{1,3}(\.\d{1,3}){3}$/.test(value) || value.includes(":");
  return { type: ip ? "ip" : "dns", value };
}

function validity(clock: Clock, days: number): { notBefore: number; notAfter: number } {
  // Certificates know whole seconds only.
  const now = Math.floor(clock.now() / 1000) * 1000;
  return { notBefore: now - BACKDATE_MS, notAfter: now + Math.floor(days * DAY_MS) };
}

function serial(clock: Clock): string {
  const bytes = clock.bytes(16);
  // A positive number without leading zeros, as DER wants it.
  bytes[0] = (bytes[0] & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

async function generateKeys(): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as CryptoKeyPair;
}

function pem(certificate: { toString(format: "pem"): string }): string {
  return `${certificate.toString("pem").trim()}\n`;
}

async function exportKey(key: CryptoKey): Promise<string> {
  return toPem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", key)));
}

async function importKey(keyPem: string): Promise<CryptoKey> {
  const bytes = fromPem(keyPem);
  return await crypto.subtle.importKey("pkcs8", bytes, ALGORITHM, true, ["sign"]);
}

/** DER as PEM. */
export function toPem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The bytes of the first PEM block. Throws `TypeError` when there is none. */
export function fromPem(text: string): Uint8Array<ArrayBuffer> {
  const match = /-----BEGIN [A-Z0-9 ]+-----([\s\S]+?)-----END [A-Z0-9 ]+-----/.exec(text);
  if (!match) throw new TypeError("no PEM block found in what should be a key or a certificate");
  return new Uint8Array(Buffer.from(match[1].replace(/\s+/g, ""), "base64"));
}

/**
 * A new ES256 key for signing ServiceAccount tokens, as PKCS #8 PEM. By `node:crypto`: WebCrypto's first key
 * takes 37 ms, this 1 ms, and every cluster waits for it.
 */
export function createTokenKey(): string {
  return generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  }).privateKey;
}

/** When a certificate is to be renewed: at two thirds of its life, wall time in ms. */
export function renewAt(issued: { notBefore: number; notAfter: number }): number {
  return issued.notBefore + Math.floor((issued.notAfter - issued.notBefore) * ROTATE_AT);
}

/** True when a certificate should be replaced now, or misses a name it should have. */
export async function mustRenew(
  issued: Issued,
  now: number,
  names: readonly string[] = [],
): Promise<boolean> {
  if (now >= renewAt(issued) || now < issued.notBefore) return true;
  if (names.length === 0) return false;
  const x509 = await library();
  const certificate = new x509.X509Certificate(issued.certificatePem);
  const extension = certificate.getExtension(x509.SubjectAlternativeNameExtension);
  const known = new Set((extension?.names.items ?? []).map((n) => canonicalIp(n.value)));
  return names.some((name) => !known.has(canonicalIp(name)));
}

function canonicalIp(value: string): string {
  return value === "::1" || value === "0:0:0:0:0:0:0:1" ? "::1" : value.toLowerCase();
}

/** Reads whom a certificate (PEM) names. */
export async function certificateSubject(certificatePem: string): Promise<CertificateSubject> {
  const x509 = await library();
  return subjectOf(new x509.X509Certificate(certificatePem).subjectName);
}

/** Whether a certificate (PEM) is one for clients, by its extended usages. */
export async function isForClients(certificatePem: string): Promise<boolean> {
  const x509 = await library();
  const certificate = new x509.X509Certificate(certificatePem);
  const extension = certificate.getExtension(x509.ExtendedKeyUsageExtension);
  return extension?.usages.includes(EXTENDED_USAGES["client auth"]) ?? false;
}

function subjectOf(name: { getField(field: string): string[] }): CertificateSubject {
  return { commonName: name.getField("CN").at(-1), organizations: name.getField("O") };
}
