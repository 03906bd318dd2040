/** Rules of the coordination group: Leases and candidates for them (upstream's `pkg/apis/coordination`). */

import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { isConfigMapKey, isQualifiedName } from "../../machinery/names.ts";
import { AGE_COLUMN, column, NAME_COLUMN } from "./cells.ts";
import { isSet, type Path, Report, SPEC } from "./report.ts";

type Stored = DeepReadonly<KubeObject>;

const STRATEGIES = ["OldestEmulationVersion"];

function validateStrategy(strategy: string, path: Path, r: Report): void {
  const at = path.child("strategy");
  if (strategy.includes("/")) r.check(isQualifiedName(strategy), at, strategy);
  else if (!STRATEGIES.includes(strategy)) r.notSupported(at, strategy, STRATEGIES);
}

function validateLease({ spec = {} }: Stored): Cause[] {
  const r = new Report();
  const { leaseDurationSeconds: duration, leaseTransitions, strategy, preferredHolder } = spec;
  if (isSet(duration) && duration <= 0) {
    r.invalid(SPEC.child("leaseDurationSeconds"), duration, "must be greater than 0");
  }
  if (isSet(leaseTransitions) && leaseTransitions < 0) {
    const text = "must be greater than or equal to 0";
    r.invalid(SPEC.child("leaseTransitions"), leaseTransitions, text);
  }
  if (isSet(strategy)) validateStrategy(strategy, SPEC.child("strategy"), r);
  if (preferredHolder && !strategy) {
    r.forbidden(
      SPEC.child("preferredHolder"),
      "may only be specified if `strategy` is defined",
    );
  }
  return r.causes;
}

const NUMBER = String.raw`(?:0|[1-9]\d*)`;
const VERSION = new RegExp(
  `^(${NUMBER})\\.(${NUMBER})\\.(${NUMBER})(?:-[0-9A-Za-z.-]+)?(?:\\+[0-9A-Za-z.-]+)?$`,
);

/** Major, minor and patch of a semantic version; what follows them is not compared here. */
function versionOf(text: string, path: Path, r: Report): number[] | undefined {
  const match = VERSION.exec(text);
  if (match) return match.slice(1, 4).map(Number);
  r.invalid(path, text, "must be a valid semantic version");
  return undefined;
}

function older(a: number[], b: number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] < b[i];
  return false;
}

function validateCandidate(candidate: Stored, old?: Stored): Cause[] {
  const r = new Report();
  const { leaseName = "", emulationVersion = "", binaryVersion = "", strategy = "" } =
    candidate.spec ?? {};
  const emulationAt = SPEC.child("emulationVersion"), binaryAt = SPEC.child("binaryVersion");
  if (leaseName === "") r.required(SPEC.child("leaseName"));
  const none = [0, 0, 0];
  const emulated = (emulationVersion && versionOf(emulationVersion, emulationAt, r)) || none;
  if (binaryVersion === "") r.required(binaryAt);
  const binary = (binaryVersion && versionOf(binaryVersion, binaryAt, r)) || none;
  if (binaryVersion && emulationVersion && older(binary, emulated)) {
    r.invalid(binaryAt, binaryVersion, "must be greater than or equal to `emulationVersion`");
  }
  if (strategy === STRATEGIES[0] && !emulated.some(Boolean)) {
    r.required(emulationAt, `must be specified when \`strategy\` is '${strategy}'`);
  }
  if (strategy === "") r.required(SPEC.child("strategy"));
  else validateStrategy(strategy, SPEC.child("strategy"), r);
  if (old && old.spec?.leaseName !== leaseName) {
    r.invalid(SPEC.child("leaseName"), leaseName, "field is immutable");
  }
  return r.causes;
}

// deno-lint-ignore no-explicit-any -- objects are decoded JSON
function dropCoordination(spec: any, before: any): void {
  for (const field of ["strategy", "preferredHolder"]) {
    if (spec?.[field] !== undefined && before?.[field] === undefined) delete spec[field];
  }
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Lease: {
    // Coordinated leader election is off
    prepareCreate: ({ spec }) => dropCoordination(spec, undefined),
    prepareUpdate: ({ spec }, old) => dropCoordination(spec, old.spec),
    validate: validateLease,
    validateUpdate: validateLease,
  },
  LeaseCandidate: {
    validateName: isConfigMapKey,
    validate: (candidate) => validateCandidate(candidate),
    validateUpdate: (candidate, old) => validateCandidate(candidate, old),
  },
};

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  Lease: [NAME_COLUMN, column("Holder", (o) => o.spec?.holderIdentity ?? ""), AGE_COLUMN],
  LeaseCandidate: [
    NAME_COLUMN,
    column("LeaseName", (o) => o.spec?.leaseName ?? ""),
    column("BinaryVersion", (o) => o.spec?.binaryVersion ?? ""),
    column("EmulationVersion", (o) => o.spec?.emulationVersion ?? ""),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
