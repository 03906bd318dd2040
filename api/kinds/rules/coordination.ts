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
  if (text === "") return [0, 0, 0];
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
  const emulated = versionOf(emulationVersion, emulationAt, r);
  const binary = versionOf(binaryVersion, binaryAt, r);
  if (binary && emulated && binaryVersion && emulationVersion && older(binary, emulated)) {
    r.invalid(binaryAt, binaryVersion, "must be greater than or equal to `emulationVersion`");
  }
  if (strategy === STRATEGIES[0]) {
    const text = `must be specified when \`strategy\` is '${strategy}'`;
    if (!binary?.some(Boolean)) r.required(binaryAt, text);
    if (!emulated?.some(Boolean)) r.required(emulationAt, text);
  }
  if (strategy === "") r.required(SPEC.child("strategy"));
  else validateStrategy(strategy, SPEC.child("strategy"), r);
  if (old && old.spec?.leaseName !== leaseName) {
    r.invalid(SPEC.child("leaseName"), leaseName, "field is immutable");
  }
  return r.causes;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  Lease: { validate: validateLease, validateUpdate: validateLease },
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
