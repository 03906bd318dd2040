/**
 * The vocabulary of the API: objects, schemas, kinds, errors. Types and one error class, nothing else;
 * everything in `api/` and `actors/` speaks in these words. Pure: no I/O, no clock, runs in a browser.
 */
import type { Pace } from "./pace.ts";

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Objects are shared between all readers: what is handed out is frozen, and its type says so. */
export type DeepReadonly<T> = T extends (infer U)[] ? readonly DeepReadonly<U>[]
  : T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
  : T;

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: "Apply" | "Update";
  apiVersion?: string;
  time?: string;
  fieldsType?: "FieldsV1";
  fieldsV1?: { [key: string]: Json };
  subresource?: string;
}

export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
  selfLink?: string;
}

/** Any Kubernetes object. Typed kinds (`api/kinds/generated/types.ts`) narrow it. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  // deno-lint-ignore no-explicit-any -- fields of kinds that are known at run time only
  [field: string]: any;
}

/** A list of objects. */
export interface KubeList<T = KubeObject> {
  apiVersion: string;
  kind: string;
  metadata: { resourceVersion?: string; continue?: string; remainingItemCount?: number };
  items: T[];
}

/** Names a resource: the group (empty for core), the version and the plural. */
export interface ResourceId {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

// --- schemas ----------------------------------------------------------------------------------------

/** How a value is written in JSON. Special scalars have a type of their own, so that one walk handles all. */
export type SchemaType =
  | "object" // `properties`
  | "map" // string keys, `items`
  | "array" // `items`
  | "string"
  | "boolean"
  | "integer" // `format` int32 or int64
  | "number"
  | "bytes" // base64 string
  | "quantity" // string or number, resource.Quantity
  | "intOrString"
  | "time" // RFC 3339, seconds
  | "microTime" // RFC 3339, microseconds
  | "duration" // Go duration string
  | "fieldsV1" // any object
  | "raw" // runtime.RawExtension: any object
  | "any"; // any JSON (apiextensions JSON, preserve-unknown)

/**
 * A node of a schema. Built-in kinds' nodes come from the facts table, custom resources' from their CRD.
 * `ref` names another schema of the same `SchemaSet` (then nothing but field-level facts stand beside it).
 */
export interface Schema {
  type: SchemaType;
  ref?: string;
  properties?: Record<string, Field>;
  items?: Schema;
  /**
   * int32 or int64 of an integer. Of `any`: how protobuf writes it (`json`, `schemaOrBool`, `schemaOrArray`,
   * `schemaOrStringArray` of the CRD types, `ref` then names the schema's type).
   */
  format?: string;
  /** An array that is a message of its own in protobuf, its items being field 1 (`ExtraValue`, `Verbs`). */
  wrapped?: boolean;
  /** OpenAPI's enumeration of a string of a built-in kind. */
  enum?: string[];
  /** Custom resources: unknown fields are kept. */
  preserveUnknown?: boolean;
  /** Custom resources: this node is an embedded object with apiVersion, kind, metadata. */
  embedded?: boolean;
  listType?: "atomic" | "set" | "map";
  listMapKeys?: string[];
  mapType?: "atomic" | "granular";
  nullable?: boolean;
  required?: string[];
  /** Custom resources: the structural schema's value validations, as OpenAPI writes them. */
  validations?: SchemaValidations;
}

/** A field of an object: its schema and what the wire formats and patches need to know of it. */
export interface Field extends Schema {
  /** Protobuf field number; absent for custom resources. */
  proto?: number;
  /** Protobuf scalar where JSON does not tell: int32, int64, uint32, double, ... */
  protoType?: string;
  /** In Go: no `omitempty`, so that a zero value is always written. */
  required1?: boolean;
  /** In Go: a pointer, so that a zero value is told from none and is kept. */
  pointer?: boolean;
  /** Validation tells an empty list or map from none, and refuses it: it is kept until then. */
  keepEmpty?: boolean;
  /** In Go: a struct with `omitzero`, left out when it is zero. */
  omitZero?: boolean;
  /** In protobuf this field lies inside messages of these numbers, outermost first (structs that Go inlines). */
  within?: readonly number[];
  /** The Go structs of `within`, as Go's errors name them: `ProbeHandler`. */
  withinNames?: string;
  /** How Go's errors name the type where the schema does not tell: `v1.PullPolicy`. */
  goType?: string;
  patchStrategy?: ("merge" | "replace" | "retainKeys")[];
  patchMergeKey?: string;
  default?: Json;
  description?: string;
}

/** OpenAPI's value validations of a custom resource's schema. */
export interface SchemaValidations {
  enum?: Json[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  minProperties?: number;
  maxProperties?: number;
  allOf?: SchemaValidations[];
  anyOf?: SchemaValidations[];
  oneOf?: SchemaValidations[];
  not?: SchemaValidations;
  /** Of junctors: what elsewhere is the schema's own. */
  format?: string;
  properties?: Record<string, SchemaValidations>;
  items?: SchemaValidations;
  required?: string[];
  /** x-kubernetes-validations. */
  rules?: ValidationRule[];
}

export interface ValidationRule {
  rule: string;
  message?: string;
  messageExpression?: string;
  reason?: string;
  fieldPath?: string;
  optionalOldSelf?: boolean;
}

/** Named schemas: upstream's definition names such as `io.k8s.api.core.v1.Pod`. */
export type SchemaSet = Readonly<Record<string, Schema>>;

// --- kinds ------------------------------------------------------------------------------------------

export type Verb =
  | "create"
  | "get"
  | "list"
  | "watch"
  | "update"
  | "patch"
  | "delete"
  | "deletecollection";

/** A column of `kubectl get`. `priority` 0 is always shown, above only with `-o wide`. */
export interface Column {
  name: string;
  type: "string" | "integer" | "number" | "boolean" | "date";
  format?: string;
  description?: string;
  priority?: number;
  /**
   * The cell's value. `now` is wall time in ms, for ages. Custom resources' columns carry `jsonPath`, which
   * the table printer evaluates, and no `cell`.
   */
  cell?: (object: DeepReadonly<KubeObject>, now: number) => string | number | boolean | null;
  jsonPath?: string;
}

/** A condition of a row of a Table. */
export interface RowCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

/** What hooks may know beside the object. */
export interface KindContext {
  /** Wall time in ms. */
  now: number;
  user: string;
  /** What is asked for: `create`, `update` or `patch`. */
  verb: string;
  /** All that is known of the user, for kinds that record it (CertificateSigningRequests). */
  requester?: {
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  /** The node that the user's token is bound to, if they are a ServiceAccount. */
  accountNode?: string;
  /**
   * Why the user has not a right on the kind that what they change needs beside that to the request, in the words of a
   * 403; undefined where they have it. Throws Unsettled where somebody outside must be asked.
   */
  refused(right: Right): string | undefined;
  /** Adds a line to the answer's warnings: for what a hook changes, so that `warnings` could not see it. */
  warn?(line: string): void;
  /** The subresource that is written, or empty. */
  subresource: string;
  /** Labels of the object's namespace, for kinds that need its leave. */
  namespaceLabels?(): Readonly<Record<string, string>>;
  uuid: () => string;
  /** Which feature gates are on (default: as upstream's are by default). */
  features?: ReadonlyMap<string, boolean>;
  /** The address families of the cluster's Services, the first being the default (IPv4 alone). */
  serviceFamilies?: readonly IpFamily[];
}

/** A right on objects of the kind that is written. */
export interface Right {
  verb: string;
  subresource: string;
  /** Empty: everywhere; absent: where it is written. */
  namespace?: string;
  /** Empty: whatever the name. */
  name: string;
}

/** An address family, as Services name it. */
export type IpFamily = "IPv4" | "IPv6";

/** One invalid field, as a cause of a Status and as upstream's `field.Error` prints it. */
export interface Cause {
  /** FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldValueDuplicate, ... */
  reason: string;
  /** Upstream's text after the field, such as `Required value: must be set`. */
  message: string;
  /** `spec.containers[0].name`. */
  field: string;
}

/** A subresource of a kind. */
export interface Subresource {
  name: string;
  verbs: ("get" | "update" | "patch" | "create" | "delete")[];
  /** What it speaks, where not the parent's kind: Scale, Eviction, Binding, TokenRequest, PodExecOptions... */
  kind?: { group: string; version: string; kind: string };
}

/** One row of the table of kinds: everything the pipeline needs to serve it. A CRD version adds such a row. */
export interface Kind {
  group: string;
  version: string;
  kind: string;
  listKind: string;
  plural: string;
  singular: string;
  shortNames?: string[];
  categories?: string[];
  namespaced: boolean;
  verbs: readonly Verb[];
  /** Name in `schemas`. */
  schema: string;
  schemas: SchemaSet;
  /**
   * Where objects lie: `/registry/pods`, followed by `/namespace/name` or `/name`. Kinds that share a path
   * (events.k8s.io and core events, autoscaling v1 and v2) convert to the storage version.
   */
  path: string;
  /** The store: `events` for Events. */
  store?: "objects" | "events";
  /** Absent: this version is what is stored. */
  storage?: {
    version: string; // apiVersion that is stored, such as autoscaling/v2
    toStorage(object: KubeObject): KubeObject;
    fromStorage(object: DeepReadonly<KubeObject>): KubeObject;
    /**
     * Where a webhook converts: takes as long as it takes, all objects in one call. The two above are not used then.
     */
    convert?(
      objects: readonly DeepReadonly<KubeObject>[],
      apiVersion: string,
    ): Promise<KubeObject[]>;
  };
  subresources: readonly Subresource[];
  /** Has `metadata.generation`, raised when anything outside metadata and status changes. */
  generation?: boolean;
  /** The fields besides metadata.name and metadata.namespace a field selector may name. */
  fields?: Readonly<Record<string, (object: DeepReadonly<KubeObject>) => string>>;
  columns: readonly Column[];
  /** What a Table says of an object's row as a whole: that nothing more will come of it. */
  rowConditions?: (object: DeepReadonly<KubeObject>) => readonly RowCondition[] | undefined;
  /** A beta or alpha kind: served only when the switch is on. */
  level?: "beta" | "alpha";
  /** Not stored: reviews and the like, answered by code; see `api/server/subresources.ts`. */
  virtual?: boolean;
  /** Objects of custom resources. */
  custom?: boolean;
  /** Aborted once a custom resource's definition has changed or is gone: this row is served no more. */
  replaced?: AbortSignal;
  /** Where a custom resource keeps what its Scale shows (default: spec.replicas and status.replicas). */
  scale?: ScalePaths;
  /** Its schema declares defaults: they are filled in what was stored before they were declared, too. */
  readDefaults?: boolean;
  /** What every request for it is warned of, if it should not be used any more. */
  deprecationWarning?: string;
  hooks: KindHooks;
}

/** Where an object keeps what its Scale shows: field names. */
export interface ScalePaths {
  spec: readonly string[];
  status: readonly string[];
  selector?: readonly string[];
}

/** What a schema cannot say. Hooks get private copies and may change `object` in place. */
export interface KindHooks {
  /**
   * Awaited before the first write of this kind is decoded or validated: what its other hooks need is loaded
   * then and not at start (CustomResourceDefinitions: RE2 and CEL).
   */
  load?(): Promise<void>;
  /** Fills what upstream's SetDefaults functions fill. After decoding, and again after each mutation. */
  defaults?(object: KubeObject): void;
  /** What of `defaults` fills the status by what the spec says: where a status was decoded alone, the spec stands. */
  statusDefaults?(object: KubeObject): void;
  /** Clears what a creator may not set (status), sets initial values. */
  prepareCreate?(object: KubeObject, context: KindContext): void;
  /** Carries over what this write may not touch, drops disabled fields. `old` is the stored object. */
  prepareUpdate?(object: KubeObject, old: DeepReadonly<KubeObject>, context: KindContext): void;
  /** On create only; metadata is checked apart from it (`kinds/rules/meta.ts`). */
  validate?(object: DeepReadonly<KubeObject>, context: KindContext): Cause[];
  /**
   * On update, of every subresource, in place of `validate`: repeats by itself the checks of the new object
   * that upstream repeats. Where a kind has none, `validate` runs on update too.
   */
  validateUpdate?(
    object: DeepReadonly<KubeObject>,
    old: DeepReadonly<KubeObject>,
    context: KindContext,
  ): Cause[];
  /**
   * What takes long to judge (rules of custom resources), after `validate` or `validateUpdate` found `causes`; gives
   * way to other work by `pace`; `warn` hears of what is wrong but was before.
   */
  judge?(
    object: DeepReadonly<KubeObject>,
    old: DeepReadonly<KubeObject> | undefined,
    options: {
      causes: readonly Cause[];
      pace: Pace;
      warn: (text: string) => void;
    },
  ): Promise<Cause[]>;
  /** Lines for `Warning: 299` headers. */
  warnings?(object: DeepReadonly<KubeObject>, old?: DeepReadonly<KubeObject>): string[];
  /** Names: the default is a DNS subdomain. */
  validateName?(name: string, prefix: boolean): string[];
  /** Grace in seconds when a delete names none; absent or 0 deletes at once (Pods: spec's). */
  gracePeriod?(object: DeepReadonly<KubeObject>): number;
}

/** The registry of what is served now: built-ins and CRDs. Changes bump `version`. */
export interface Kinds {
  /** Grows with every change; discovery and OpenAPI key their caches on it. */
  readonly version: number;
  byResource(group: string, version: string, plural: string): Kind | undefined;
  byKind(group: string, version: string, kind: string): Kind | undefined;
  all(): readonly Kind[];
  /** Adds or replaces rows of one CRD (by `group/plural`); an empty list removes them. */
  setCustom(name: string, kinds: readonly Kind[]): void;
}

// --- errors -----------------------------------------------------------------------------------------

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: { reason?: string; message?: string; field?: string }[];
  retryAfterSeconds?: number;
}

/** A Kubernetes Status, as JSON. */
export interface Status {
  kind: "Status";
  apiVersion: "v1";
  metadata: { continue?: string };
  status: "Success" | "Failure";
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code: number;
}

/** The one error that crosses HTTP: it is a Status. Constructors for upstream's are in `errors.ts`. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: Status;
  constructor(
    status: Omit<Status, "kind" | "apiVersion" | "metadata" | "status"> & {
      metadata?: { continue?: string };
    },
  ) {
    super(status.message ?? status.reason ?? `status ${status.code}`);
    this.status = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      ...status,
    } as Status;
  }
  get code(): number {
    return this.status.code;
  }
  get reason(): string {
    return this.status.reason ?? "";
  }
}
