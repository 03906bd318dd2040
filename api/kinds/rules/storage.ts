/** Rules of the storage group: classes, attachments, CSI drivers and nodes (upstream's `pkg/apis/storage`). */

import { selectorValue } from "./replica_validation.ts";
import { internalValue } from "./internal_value.ts";
import type {
  Cause,
  Column,
  DeepReadonly,
  Kind,
  KindHooks,
  KubeObject,
} from "../../machinery/types.ts";
import { isQualifiedName, nameIsDnsSubdomain, rangeText } from "../../machinery/names.ts";
import { tryParseQuantity } from "../../machinery/quantity.ts";
import { checkLabelSelector } from "../../machinery/selectors.ts";
import { AGE_COLUMN, column, NAME_COLUMN, type Row } from "./cells.ts";
import { equalExcept, semanticEqual } from "./equality.ts";
import { nodeLabelText, nodeTermWarnings } from "./pod_warnings.ts";
import { raiseGeneration, statusHooks } from "./prepare.ts";
import { isSet, Path, Report, ROOT, SPEC, STATUS } from "./report.ts";
import { validateCsiDriverName } from "./volume_sources.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Stored = DeepReadonly<KubeObject>;

const INT32_MAX = 2147483647;
const PARAMETERS_MAX = 512;
/** A field of CSIDrivers whose feature is off. */
const UNSCHEDULED = "preventPodSchedulingIfMissing";
const PARAMETERS_BYTES_MAX = 256 * 1024;

function validateParameters(parameters: Obj, path: Path, r: Report): void {
  const names = Object.keys(parameters ?? {});
  if (names.length > PARAMETERS_MAX) {
    r.tooLong(path, PARAMETERS_MAX);
    return;
  }
  let size = 0;
  for (const name of names) {
    if (name === "") r.invalid(path, name, "field can not be empty.");
    size += name.length + (parameters[name] ?? "").length;
  }
  if (size > PARAMETERS_BYTES_MAX) r.tooLong(path, PARAMETERS_BYTES_MAX);
}

function validateDriver(name: string, path: Path, r: Report): void {
  if (name === "") r.required(path);
  else r.check(isQualifiedName(name.toLowerCase()), path, name.toLowerCase());
}

const RECLAIM_POLICIES = ["Delete", "Retain"];
const BINDING_MODES = ["Immediate", "WaitForFirstConsumer"];

/** What a term means, whatever the order it is written in. */
function topologyIdentity(term: Obj): string {
  const rules: Record<string, string[]> = {};
  for (const { key = "", values } of term.matchLabelExpressions ?? []) {
    rules[key] = [...new Set<string>(values ?? [])].sort();
  }
  return JSON.stringify(Object.fromEntries(Object.entries(rules).sort()));
}

function validateStorageClass(object: Stored): Cause[] {
  const r = new Report();
  validateDriver(object.provisioner ?? "", new Path("provisioner"), r);
  validateParameters(object.parameters, new Path("parameters"), r);
  const { reclaimPolicy, volumeBindingMode: mode, allowedTopologies = [] } = object;
  if (reclaimPolicy && !RECLAIM_POLICIES.includes(reclaimPolicy)) {
    r.notSupported(new Path("reclaimPolicy"), reclaimPolicy, RECLAIM_POLICIES);
  }
  if (!isSet(mode)) r.required(new Path("volumeBindingMode"));
  else if (!BINDING_MODES.includes(mode)) {
    r.notSupported(new Path("volumeBindingMode"), mode, BINDING_MODES);
  }
  // Upstream compares with as many empty terms as there are, and so finds an empty one twice
  const seen: string[] = [];
  allowedTopologies.forEach((term: Obj, i: number) => {
    const at = new Path("allowedTopologies").index(i);
    const keys = new Set<string>();
    term.matchLabelExpressions?.forEach((expression: Obj, j: number) => {
      const { key = "" } = expression, values = expression.values ?? [];
      const ruleAt = at.child("matchLabelExpressions").index(j);
      if (values.length === 0) r.required(ruleAt.child("values"));
      values.forEach((value: string, k: number) => {
        if (values.indexOf(value) < k) r.duplicate(ruleAt.child("values").index(k), value);
      });
      r.check(isQualifiedName(key), ruleAt.child("key"), key);
      if (keys.has(key)) r.duplicate(ruleAt.child("key"), key);
      keys.add(key);
    });
    const identity = topologyIdentity(term);
    const earlier = identity === "{}" ? allowedTopologies.length : 0;
    const times = earlier + seen.filter((other) => other === identity).length;
    for (let n = 0; n < times; n++) r.duplicate(at.child("matchLabelExpressions"), "");
    seen.push(identity);
  });
  return r.causes;
}

function validateStorageClassUpdate(object: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateStorageClass(object));
  for (const field of ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"]) {
    if (semanticEqual(object[field] ?? {}, old[field] ?? {})) continue;
    r.invalid(new Path(field), object[field] ?? null, IMMUTABLE);
  }
  return r.causes;
}

function validateAttachment(object: Stored): Cause[] {
  const r = new Report();
  const { attacher = "", nodeName = "", source = {} } = object.spec ?? {};
  validateCsiDriverName(attacher, SPEC.child("attacher"), r);
  const { persistentVolumeName: name, inlineVolumeSpec: inline } = source;
  const at = SPEC.child("source");
  if (isSet(name) && isSet(inline)) {
    r.forbidden(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  } else if (isSet(name)) {
    if (name === "") {
      r.required(at.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
    }
  } else if (!isSet(inline)) {
    r.required(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  }
  r.check(nameIsDnsSubdomain(nodeName, false), SPEC.child("nodeName"), nodeName);
  if (isSet(name)) {
    const path = new Path("spec.source.persistentVolumeName");
    r.check(nameIsDnsSubdomain(name, false), path, name);
  }
  return r.causes;
}

function validateCsiNode(object: Stored): Cause[] {
  const r = new Report();
  const names = new Set<string>();
  (object.spec?.drivers ?? []).forEach((driver: Obj, i: number) => {
    const { name = "", nodeID = "", allocatable } = driver;
    const topologyKeys: string[] = driver.topologyKeys ?? [];
    const at = SPEC.child("drivers").index(i);
    validateCsiDriverName(name, at.child("name"), r);
    if (nodeID === "") r.required(at.child("nodeID"));
    if (nodeID.length > 256) {
      r.invalid(at.child("nodeID"), nodeID, "must be 256 characters or less");
    }
    if (allocatable?.count < 0) {
      const text = "must be greater than or equal to 0";
      r.invalid(at.child("allocatable", "count"), allocatable.count, text);
    }
    if (names.has(name)) r.duplicate(at.child("name"), name);
    names.add(name);
    topologyKeys.forEach((key, j) => {
      if (key === "") r.required(at);
      if (topologyKeys.indexOf(key) < j) r.duplicate(at, key);
      r.check(isQualifiedName(key), at, key);
    });
  });
  return r.causes;
}

const IMMUTABLE = "field is immutable";
const UPDATE_PERIOD_MIN = 10;
const FS_POLICIES = ["File", "None", "ReadWriteOnceWithFSType"];
const MODES = ["Persistent", "Ephemeral"];

function validateCsiDriver(object: Stored): Cause[] {
  const r = new Report();
  const spec: Obj = object.spec ?? {};
  for (const field of ["attachRequired", "podInfoOnMount", "storageCapacity"]) {
    if (!isSet(spec[field])) r.required(SPEC.child(field));
  }
  if (!isSet(spec.fsGroupPolicy)) r.required(SPEC.child("fsGroupPolicy"));
  else if (!FS_POLICIES.includes(spec.fsGroupPolicy)) {
    r.notSupported(SPEC.child("fsGroupPolicy"), spec.fsGroupPolicy, FS_POLICIES);
  }
  for (const mode of spec.volumeLifecycleModes ?? []) {
    if (MODES.includes(mode)) continue;
    r.notSupported(SPEC.child("volumeLifecycleModes"), mode, MODES, true);
  }
  const audiences = new Set<string>();
  (spec.tokenRequests ?? []).forEach(
    ({ audience = "", expirationSeconds: seconds }: Obj, i: number) => {
      const at = SPEC.child("tokenRequests").index(i);
      if (audiences.has(audience)) r.duplicate(at.child("audience"), audience);
      audiences.add(audience);
      if (!isSet(seconds)) return;
      const secondsAt = at.child("expirationSeconds");
      if (seconds < 600) {
        r.invalid(secondsAt, seconds, "may not specify a duration less than 10 minutes");
      }
      if (seconds > 2 ** 32) {
        r.invalid(secondsAt, seconds, "may not specify a duration larger than 2^32 seconds");
      }
    },
  );
  const period = spec.nodeAllocatableUpdatePeriodSeconds;
  if (isSet(period) && period < UPDATE_PERIOD_MIN) {
    const text = `must be greater than or equal to ${UPDATE_PERIOD_MIN} seconds`;
    r.invalid(SPEC.child("nodeAllocatableUpdatePeriodSeconds"), period, text);
  }
  return r.causes;
}

const TOKENS_IN_ATTRIBUTES =
  "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent " +
  "possible logging of tokens in volume attributes";

function validateCsiDriverUpdate(object: Stored, old: Stored): Cause[] {
  const r = new Report();
  r.add(validateCsiDriver(object));
  for (
    const [field, said] of [
      ["attachRequired", "attachedRequired"],
      ["volumeLifecycleModes", "volumeLifecycleModes"],
    ]
  ) {
    const now = object.spec?.[field];
    if (semanticEqual(now, old.spec?.[field])) continue;
    r.invalid(SPEC.child(said), now ?? null, "field is immutable");
  }
  return r.causes;
}

function validateCapacity(object: Stored): Cause[] {
  const r = new Report();
  const { storageClassName = "", nodeTopology, capacity } = object;
  if (isSet(nodeTopology)) r.add(checkLabelSelector("nodeTopology", nodeTopology));
  r.check(
    nameIsDnsSubdomain(storageClassName, false),
    new Path("storageClassName"),
    storageClassName,
  );
  for (const [name, text] of [["capacity", capacity]]) {
    const amount = isSet(text) ? tryParseQuantity(text) : undefined;
    if (amount && amount.sign < 0) {
      r.invalid(new Path(name), amount.toString(), "must be greater than or equal to 0");
    }
  }
  return r.causes;
}

function validateAttributesClass(object: Stored): Cause[] {
  const r = new Report();
  validateDriver(object.driverName ?? "", new Path("driverName"), r);
  validateParameters(object.parameters, new Path("parameters"), r);
  if (Object.keys(object.parameters ?? {}).length === 0) {
    r.required(new Path("parameters"), "must contain at least one key/value pair");
  }
  return r.causes;
}

function immutable(...fields: string[]): NonNullable<KindHooks["validateUpdate"]> {
  return (object, old) => {
    const r = new Report();
    for (const field of fields) {
      if (semanticEqual(object[field], old[field])) continue;
      const value = object[field] ?? null;
      r.invalid(
        ROOT.child(field),
        field === "nodeTopology" ? selectorValue(value) : value,
        IMMUTABLE,
      );
    }
    return r.causes;
  };
}

/** Warns of labels of old in the places that a class allows. */
function classWarnings({ allowedTopologies }: Stored): string[] {
  const lines: string[] = [];
  const root = new Path("allowedTopologies");
  (allowedTopologies ?? []).forEach(({ matchLabelExpressions }: Obj, i: number) => {
    const path = root.index(i).child("matchLabelExpressions");
    (matchLabelExpressions ?? []).forEach(({ key }: Obj, j: number) => {
      const text = nodeLabelText(key);
      if (text) lines.push(`${path.index(j).child("key")}: ${text}`);
    });
  });
  return lines;
}

/** Warns of labels of old in the place that an amount of room is about. */
function capacityWarnings({ nodeTopology }: Stored): string[] {
  const lines: string[] = [];
  const path = new Path("nodeTopology");
  nodeTermWarnings(nodeTopology, path, lines);
  for (const key of Object.keys(nodeTopology?.matchLabels ?? {})) {
    const text = nodeLabelText(key);
    if (text) lines.push(`${path.child("matchLabels").child(key)}: ${text}`);
  }
  return lines;
}

/** Hooks by kind. */
export const hooks: Record<string, KindHooks> = {
  StorageClass: {
    defaults(object) {
      object.reclaimPolicy ??= "Delete";
      object.volumeBindingMode ??= "Immediate";
    },
    validate: validateStorageClass,
    validateUpdate: validateStorageClassUpdate,
    warnings: classWarnings,
  },
  VolumeAttachment: {
    ...statusHooks({ status: () => ({ attached: false }) }),
    validate: validateAttachment,
    validateUpdate(object, old, context) {
      const r = new Report();
      if (context.subresource === "status") {
        for (const field of ["attachError", "detachError"]) {
          const code = object.status?.[field]?.errorCode;
          if (code === undefined || code === null || code >= 0) continue;
          r.invalid(STATUS.child(field, "errorCode"), code, rangeText(0, INT32_MAX));
        }
        return r.causes;
      }
      r.add(validateAttachment(object));
      if (!semanticEqual(object.spec, old.spec)) {
        r.invalid(SPEC, internalValue("VolumeAttachmentSpec", object.spec ?? {}), IMMUTABLE);
      }
      return r.causes;
    },
  },
  CSINode: {
    validate: validateCsiNode,
    validateUpdate(object, old) {
      const r = new Report();
      r.add(validateCsiNode(object));
      // A driver that stays may learn how many volumes it takes, and nothing else
      for (const driver of object.spec?.drivers ?? []) {
        const before = old.spec?.drivers?.find(({ name }: Obj) => name === driver.name);
        if (!before || equalExcept(driver, before, ["allocatable"])) continue;
        const { allocatable: _, ...fixed } = driver;
        r.invalid(SPEC.child("drivers"), internalValue("CSINodeDriver", fixed), IMMUTABLE);
      }
      return r.causes;
    },
  },
  CSIDriver: {
    defaults(object) {
      const spec: Obj = object.spec ??= {};
      spec.attachRequired ??= true;
      spec.podInfoOnMount ??= false;
      spec.storageCapacity ??= false;
      spec.fsGroupPolicy ??= "ReadWriteOnceWithFSType";
      spec.requiresRepublish ??= false;
      spec.seLinuxMount ??= false;
      if (!spec.volumeLifecycleModes?.length) spec.volumeLifecycleModes = ["Persistent"];
    },
    prepareCreate: (driver) => delete driver.spec[UNSCHEDULED],
    prepareUpdate(object, old) {
      if (old.spec?.[UNSCHEDULED] === undefined) delete object.spec?.[UNSCHEDULED];
      if (!semanticEqual(object.spec, old.spec)) raiseGeneration(object, old, ["spec"]);
    },
    validate: validateCsiDriver,
    validateUpdate: validateCsiDriverUpdate,
    warnings({ spec }, old) {
      if (!spec?.tokenRequests?.length || isSet(spec.serviceAccountTokenInSecrets)) return [];
      if (old && semanticEqual(spec.tokenRequests, old.spec?.tokenRequests)) return [];
      return [TOKENS_IN_ATTRIBUTES];
    },
  },
  CSIStorageCapacity: {
    warnings: capacityWarnings,
    validate: validateCapacity,
    validateUpdate: (object, old, context) => [
      ...validateCapacity(object),
      ...immutable("nodeTopology", "storageClassName")(object, old, context),
    ],
  },
  VolumeAttributesClass: {
    validate: validateAttributesClass,
    validateUpdate(object, old) {
      const r = new Report();
      for (const field of ["driverName", "parameters"]) {
        if (semanticEqual(object[field], old[field])) continue;
        r.forbidden(new Path(field), `updates to ${field} are forbidden.`);
      }
      r.add(validateAttributesClass(object));
      return r.causes;
    },
  },
};

const DEFAULT_CLASS = [
  "storageclass.kubernetes.io/is-default-class",
  "storageclass.beta.kubernetes.io/is-default-class",
];
const DEFAULT_ATTRIBUTES = ["volumeattributesclass.kubernetes.io/is-default-class"];

function nameColumn(annotations: readonly string[]): Column {
  return column("Name", ({ metadata }: Row) => {
    const marked = annotations.some((key) => metadata.annotations?.[key] === "true");
    return marked ? `${metadata.name} (default)` : metadata.name;
  }, { format: "name" });
}

const BOOLEAN = { type: "boolean" } as const;

/** Columns by kind. */
export const columns: Record<string, Column[]> = {
  StorageClass: [
    nameColumn(DEFAULT_CLASS),
    column("Provisioner", (o) => o.provisioner ?? ""),
    column("ReclaimPolicy", (o) => o.reclaimPolicy ?? "Delete"),
    column("VolumeBindingMode", (o) => o.volumeBindingMode ?? "Immediate"),
    column("AllowVolumeExpansion", (o) => o.allowVolumeExpansion ?? false),
    AGE_COLUMN,
  ],
  VolumeAttributesClass: [
    nameColumn(DEFAULT_ATTRIBUTES),
    column("DriverName", (o) => o.driverName ?? ""),
    AGE_COLUMN,
  ],
  VolumeAttachment: [
    NAME_COLUMN,
    column("Attacher", (o) => o.spec?.attacher ?? "", { format: "name" }),
    column("PV", (o) => o.spec?.source?.persistentVolumeName ?? ""),
    column("Node", (o) => o.spec?.nodeName ?? ""),
    column("Attached", (o) => o.status?.attached ?? false, BOOLEAN),
    AGE_COLUMN,
  ],
  CSINode: [
    NAME_COLUMN,
    column("Drivers", (o) => (o.spec?.drivers ?? []).length, { type: "integer" }),
    AGE_COLUMN,
  ],
  CSIDriver: [
    NAME_COLUMN,
    column("AttachRequired", (o) => o.spec?.attachRequired ?? true, BOOLEAN),
    column("PodInfoOnMount", (o) => o.spec?.podInfoOnMount ?? false, BOOLEAN),
    column("StorageCapacity", (o) => o.spec?.storageCapacity ?? false, BOOLEAN),
    column(
      "TokenRequests",
      (o) =>
        o.spec?.tokenRequests
          ? o.spec.tokenRequests.map((t: Obj) => t.audience).join(",")
          : "<unset>",
    ),
    column("RequiresRepublish", (o) => o.spec?.requiresRepublish ?? false, BOOLEAN),
    column("Modes", (o) => (o.spec?.volumeLifecycleModes ?? []).join(",") || "<none>"),
    AGE_COLUMN,
  ],
};

/** Selectable fields by kind. */
export const fields: Record<string, Kind["fields"]> = {};
