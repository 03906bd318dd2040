/**
 * Rules of the certificates group (upstream's `pkg/apis/certificates`): signing requests, trust bundles, and
 * pods' certificate requests. A request's PEM is checked for its form; its signature is the signer's business.
 */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindContext,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { X509Certificate } from "node:crypto";
import { byteLength, nameIsDnsSubdomain, nameIsPathSegment } from "../../machinery/names.ts";
import { formatTime, humanDuration } from "../../machinery/time.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { semanticEqual } from "./equality.ts";
import { unifiedDiff } from "./unified_diff.ts";
import { validateSignerName } from "./pod_volumes.ts";
import { keep, statusHooks } from "./prepare.ts";
import { isSet, METADATA, Report, SPEC, STATUS } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const LEGACY_SIGNER = "kubernetes.io/legacy-unknown";
const EXPIRATION_SECONDS_MIN = 600;
const TRUE_ONLY = new Set(["Approved", "Denied", "Failed"]);
const STATUSES = ["False", "True", "Unknown"];
const USAGES = [
  "any",
  "cert sign",
  "client auth",
  "code signing",
  "content commitment",
  "crl sign",
  "data encipherment",
  "decipher only",
  "digital signature",
  "email protection",
  "encipher only",
  "ipsec end system",
  "ipsec tunnel",
  "ipsec user",
  "key agreement",
  "key encipherment",
  "microsoft sgc",
  "netscape sgc",
  "ocsp signing",
  "s/mime",
  "server auth",
  "signing",
  "timestamping",
];

// --- what a write may touch ------------------------------------------------------------------------------

function prepareCreate(csr: KubeObject, context: KindContext): void {
  const spec: Obj = csr.spec ??= {};
  const { uid, groups, extra } = context.requester ?? { groups: [] };
  for (const field of ["username", "uid", "groups", "extra"]) delete spec[field];
  if (context.user) spec.username = context.user;
  if (uid) spec.uid = uid;
  if (groups.length > 0) spec.groups = [...groups];
  if (extra && Object.keys(extra).length > 0) {
    spec.extra = Object.fromEntries(Object.entries(extra).map(([k, v]) => [k, [...v]]));
  }
  csr.status = {};
}

function conditionsOf(csr: Stored): readonly Obj[] {
  return csr.status?.conditions ?? [];
}

/** Keeps the stored conditions of a type where the write has as many of them. */
function preserve(csr: KubeObject, old: Stored, type: string): void {
  const before = conditionsOf(old).filter((c) => c.type === type);
  const mine = conditionsOf(csr).map((c, i) => c.type === type ? i : -1).filter((i) => i >= 0);
  if (before.length !== mine.length) return;
  mine.forEach((at, i) => csr.status.conditions[at] = before[i]);
}

function stampConditions(csr: KubeObject, old: Stored, now: string): void {
  for (const condition of csr.status?.conditions ?? []) {
    if (Object.isFrozen(condition)) continue; // a stored one, stamped before
    condition.lastUpdateTime ??= now;
    condition.lastTransitionTime ??= conditionsOf(old).find((c) =>
      c.type === condition.type && c.status === condition.status && c.lastTransitionTime
    )?.lastTransitionTime ?? now;
  }
}

function prepareUpdate(csr: KubeObject, old: Stored, context: KindContext): void {
  keep(csr, old, "spec");
  const now = formatTime(context.now);
  if (context.subresource === "status") {
    preserve(csr, old, "Approved");
    preserve(csr, old, "Denied");
    stampConditions(csr, old, now);
  } else if (context.subresource === "approval") {
    stampConditions(csr, old, now);
    const conditions = csr.status?.conditions;
    csr.status = { ...old.status, conditions };
    if (conditions === undefined) delete csr.status.conditions;
  } else keep(csr, old, "status");
}

// --- validation ------------------------------------------------------------------------------------------

/** The label of a PEM text's first block. */
function pemLabel(base64: string): string | undefined {
  let text: string;
  try {
    text = new TextDecoder().decode(Uint8Array.fromBase64(base64));
  } catch {
    return undefined;
  }
  const match = /-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----/.exec(text);
  return match?.[1];
}

const PEM_BLOCK = /-----BEGIN ([^-]*)-----\s([^-]*)-----END \1-----/g;

/** What is wrong with an issued certificate, in base64 as the field holds it. */
function certificateProblem(base64: string): string | undefined {
  if (!base64) return undefined;
  const text = new TextDecoder("latin1").decode(Uint8Array.fromBase64(base64));
  const blocks = [...text.matchAll(PEM_BLOCK)];
  for (const [block, type, body] of blocks) {
    if (type !== "CERTIFICATE") {
      return `only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(type)}`;
    }
    if (body.includes(":")) return "no PEM block headers are permitted";
    try {
      new X509Certificate(block);
    } catch {
      return "x509: malformed certificate";
    }
  }
  return blocks.length === 0 ? "must contain at least one CERTIFICATE PEM block" : undefined;
}

/** What a stored request may have that a new one may not: it is allowed to stay. */
interface Tolerated {
  usages?: boolean;
  duplicateUsages?: boolean;
  legacySigner?: boolean;
  emptyTypes?: boolean;
  duplicateTypes?: boolean;
  bothDecisions?: boolean;
  certificate?: boolean;
}

const hasDuplicates = (values: readonly string[]) => new Set(values).size < values.length;

function toleratedIn(csr: Stored, old: Stored): Tolerated {
  const usages: string[] = old.spec?.usages ?? [];
  const types: string[] = conditionsOf(old).map((c) => c.type ?? "");
  const before = old.status?.certificate ?? "";
  return {
    usages: usages.some((usage) => !USAGES.includes(usage)),
    duplicateUsages: hasDuplicates(usages),
    legacySigner: old.spec?.signerName === LEGACY_SIGNER,
    emptyTypes: types.includes(""),
    duplicateTypes: hasDuplicates(types),
    bothDecisions: types.includes("Approved") && types.includes("Denied"),
    certificate: (csr.status?.certificate ?? "") === before ||
      certificateProblem(before) !== undefined,
  };
}

function validateUsages(usages: readonly string[], r: Report, tolerated: Tolerated): void {
  const path = SPEC.child("usages");
  if (usages.length === 0) r.required(path);
  usages.forEach((usage, i) => {
    if (!tolerated.usages && !USAGES.includes(usage)) {
      r.notSupported(path.index(i), usage, USAGES);
    }
  });
  usages.forEach((usage, i) => {
    if (!tolerated.duplicateUsages && usages.indexOf(usage) < i) r.duplicate(path.index(i), usage);
  });
}

function validateConditions(csr: Stored, r: Report, tolerated: Tolerated): void {
  const path = STATUS.child("conditions");
  const seen = new Set<string>();
  conditionsOf(csr).forEach((condition, i) => {
    const { type = "", status } = condition;
    if (!type && !tolerated.emptyTypes) r.required(path.index(i).child("type"));
    const allowed = TRUE_ONLY.has(type) ? ["True"] : STATUSES;
    if (!status) r.required(path.index(i).child("status"));
    else if (!allowed.includes(status)) {
      r.notSupported(path.index(i).child("status"), status, allowed);
    }
    const other = type === "Approved" ? "Denied" : type === "Denied" ? "Approved" : "";
    if (other && seen.has(other) && !tolerated.bothDecisions) {
      r.invalid(path, type, "Approved and Denied conditions are mutually exclusive");
    }
    if (seen.has(type) && !tolerated.duplicateTypes) r.duplicate(path.index(i).child("type"), type);
    seen.add(type);
  });
}

function validate(csr: Stored, tolerated: Tolerated = {}): Cause[] {
  const r = new Report();
  const { spec } = csr;
  if (pemLabel(spec.request ?? "") !== "CERTIFICATE REQUEST") {
    r.invalid(
      SPEC.child("request"),
      spec.request ?? null,
      "PEM block type must be CERTIFICATE REQUEST",
    );
  }
  validateUsages(spec.usages ?? [], r, tolerated);
  if (spec.signerName === LEGACY_SIGNER && !tolerated.legacySigner) {
    r.invalid(
      SPEC.child("signerName"),
      spec.signerName,
      "the legacy signerName is not allowed via this API version",
    );
  } else validateSignerName(spec.signerName ?? "", SPEC.child("signerName"), r);
  if (isSet(spec.expirationSeconds) && spec.expirationSeconds < EXPIRATION_SECONDS_MIN) {
    r.invalid(
      SPEC.child("expirationSeconds"),
      spec.expirationSeconds,
      "may not specify a duration less than 600 seconds (10 minutes)",
    );
  }
  validateConditions(csr, r, tolerated);
  const problem = tolerated.certificate ? undefined : certificateProblem(csr.status?.certificate);
  if (problem) r.invalid(STATUS.child("certificate"), "<certificate data>", problem);
  return r.causes;
}

/** Conditions as upstream's internal type writes them. */
const internalConditions = (conditions: readonly Obj[]) =>
  conditions.map((c) => ({
    Type: c.type ?? "",
    Status: c.status ?? "",
    Reason: c.reason ?? "",
    Message: c.message ?? "",
    LastUpdateTime: c.lastUpdateTime ?? null,
    LastTransitionTime: c.lastTransitionTime ?? null,
  }));

function validateUpdate(csr: Stored, old: Stored, context: KindContext): Cause[] {
  const r = new Report();
  r.add(validate(csr, toleratedIn(csr, old)));
  const path = STATUS.child("conditions");
  const of = (object: Stored, type: string) => conditionsOf(object).filter((c) => c.type === type);
  for (const type of TRUE_ONLY) {
    if (of(csr, type).length < of(old, type).length) {
      r.forbidden(path, `updates may not remove a condition of type "${type}"`);
    }
  }
  if (context.subresource !== "approval") {
    for (const type of ["Approved", "Denied"]) {
      const before = of(old, type), after = of(csr, type);
      if (after.length > before.length) {
        r.forbidden(path, `updates may not add a condition of type "${type}"`);
      } else if (after.length === before.length && !semanticEqual(after, before)) {
        const diff = unifiedDiff(internalConditions(before), internalConditions(after));
        r.forbidden(path, `updates may not modify a condition of type "${type}"\n${diff}`);
      }
    }
  }
  const before = old.status?.certificate ?? "", after = csr.status?.certificate ?? "";
  if (before !== after) {
    if (context.subresource !== "status") {
      r.forbidden(STATUS.child("certificate"), "updates may not set certificate content");
    } else if (before) {
      r.forbidden(
        STATUS.child("certificate"),
        "updates may not modify existing certificate content",
      );
    }
  }
  return r.causes;
}

/** A bundle's name begins with its signer's, slashes as colons. */
function validateBundle(bundle: Stored, parsed?: string): Cause[] {
  const r = new Report();
  const { signerName = "", trustBundle = "" } = bundle.spec ?? {};
  for (const [field, prefix] of [["generateName", true], ["name", false]] as const) {
    const name = bundle.metadata[field];
    if (name) r.check(bundleNameProblems(signerName, name, prefix), METADATA.child(field), name);
  }
  if (signerName) validateSignerName(signerName, SPEC.child("signerName"), r);
  if (trustBundle !== parsed) validateAnchors(trustBundle, r);
  return r.causes;
}

function bundleNameProblems(signerName: string, name: string, prefix: boolean): string[] {
  if (signerName === "") {
    if (name.includes(":")) {
      return ['ClusterTrustBundle without signer name must not have ":" in its name'];
    }
    return nameIsDnsSubdomain(name, prefix);
  }
  const wanted = `${signerName.replaceAll("/", ":")}:`;
  if (!name.startsWith(wanted)) {
    return [`ClusterTrustBundle for signerName ${signerName} must be named with prefix ${wanted}`];
  }
  return nameIsDnsSubdomain(name.slice(wanted.length), prefix);
}

const BUNDLE_BYTES_MAX = 1024 * 1024;
const PEM = /-----BEGIN ([A-Z0-9 ]+)-----\s([^-]*)-----END [A-Z0-9 ]+-----/g;

/** A bundle holds certificates of authorities, each once, and nothing else. */
function validateAnchors(text: string, r: Report): void {
  const at = SPEC.child("trustBundle");
  const say = (why: string) => r.invalid(at, "<value omitted>", why);
  if (byteLength(text) > BUNDLE_BYTES_MAX) return r.tooLong(at, BUNDLE_BYTES_MAX);
  const found = new Map<string, number[]>();
  let bad = false;
  [...text.matchAll(PEM)].forEach(([block, type, body], i) => {
    const why = anchorProblem(block, type, body);
    if (why) {
      bad = true;
      say(`entry ${i} ${why}`);
      return;
    }
    const key = body.replace(/\s/g, "");
    found.set(key, [...found.get(key) ?? [], i]);
  });
  if (bad) return;
  if (found.size === 0) say("at least one trust anchor must be provided");
  for (const places of found.values()) {
    if (places.length > 1) say(`duplicate trust anchor (indices [${places.join(" ")}])`);
  }
}

function anchorProblem(block: string, type: string, body: string): string {
  if (type !== "CERTIFICATE") return `has bad block type: ${type}`;
  if (body.includes(":")) return "has PEM block headers";
  try {
    return new X509Certificate(block).ca ? "" : "does not have the CA bit set";
  } catch {
    return "does not parse as X.509";
  }
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  CertificateSigningRequest: {
    prepareCreate,
    prepareUpdate,
    validate: (csr) => validate(csr),
    validateUpdate,
    validateName: nameIsPathSegment,
  },
  ClusterTrustBundle: {
    validate: (bundle) => validateBundle(bundle),
    validateUpdate(bundle, old) {
      const r = new Report();
      r.add(validateBundle(bundle, old.spec?.trustBundle ?? ""));
      if ((bundle.spec.signerName ?? "") !== (old.spec.signerName ?? "")) {
        r.invalid(SPEC.child("signerName"), bundle.spec.signerName ?? "", "field is immutable");
      }
      return r.causes;
    },
    validateName: () => [],
  },
  PodCertificateRequest: {
    ...statusHooks(),
    validateUpdate(request, old) {
      const r = new Report();
      if (!semanticEqual(request.spec, old.spec)) {
        r.invalid(SPEC, request.spec, "field is immutable");
      }
      return r.causes;
    },
  },
};

// --- columns ---------------------------------------------------------------------------------------------

function csrState(csr: Stored): string {
  const has = (type: string) => conditionsOf(csr).some((c) => c.type === type);
  const decided = has("Denied") ? "Denied" : has("Approved") ? "Approved" : "Pending";
  return decided + (has("Failed") ? ",Failed" : "") + (csr.status?.certificate ? ",Issued" : "");
}

function certificateState(request: Stored): string {
  const has = (type: string) =>
    conditionsOf(request).some((c) => c.type === type && c.status === "True");
  return ["Denied", "Failed", "Issued"].find(has) ?? "Pending";
}

const SIGNER_COLUMN = column("SignerName", ({ spec }) => spec?.signerName || "<none>", {
  description: "Who is to sign",
});

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  CertificateSigningRequest: [
    NAME_COLUMN,
    AGE_COLUMN,
    SIGNER_COLUMN,
    column("Requestor", ({ spec }) => spec?.username ?? "", { description: "Who asks" }),
    column(
      "RequestedDuration",
      ({ spec }) =>
        isSet(spec?.expirationSeconds) ? humanDuration(spec.expirationSeconds * 1000) : "<none>",
      {
        description: "How long the certificate is to be valid",
      },
    ),
    column("Condition", csrState, { description: "What was decided and done" }),
  ],
  ClusterTrustBundle: [NAME_COLUMN, SIGNER_COLUMN],
  PodCertificateRequest: [
    NAME_COLUMN,
    column("PodName", ({ spec }) => spec?.podName ?? ""),
    column("ServiceAccountName", ({ spec }) => spec?.serviceAccountName ?? ""),
    column("NodeName", ({ spec }) => spec?.nodeName ?? ""),
    column("SignerName", ({ spec }) => spec?.signerName ?? ""),
    column("State", certificateState),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {
  CertificateSigningRequest: { "spec.signerName": ({ spec }) => spec?.signerName ?? "" },
  ClusterTrustBundle: { "spec.signerName": ({ spec }) => spec?.signerName ?? "" },
  PodCertificateRequest: {
    "spec.signerName": ({ spec }) => spec?.signerName ?? "",
    "spec.podName": ({ spec }) => spec?.podName ?? "",
    "spec.nodeName": ({ spec }) => spec?.nodeName ?? "",
  },
};
