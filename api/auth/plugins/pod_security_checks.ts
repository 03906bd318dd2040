/**
 * The Pod Security Standards: what the levels baseline and restricted forbid, by version of the standard, in
 * upstream's words. Pure functions of a pod's metadata and spec.
 */

// deno-lint-ignore no-explicit-any -- a pod's metadata, spec and containers, checked by their schema
type Any = any;

/** How strict a policy is. */
export type Level = "privileged" | "baseline" | "restricted";

/** What is wrong: in short, and with names and values. */
export interface Violation {
  reason: string;
  detail: string;
}

type CheckFn = (spec: Any, metadata: Any) => Violation | undefined;

interface Check {
  id: string;
  level: Level;
  /** The check from each minor version on. */
  versions: readonly [number, CheckFn][];
  /** Baseline checks that a restricted one takes the place of. */
  overrides?: string;
}

/** The newest minor version that changed a check: later ones and `latest` are judged as this. */
const NEWEST = 35;

/** The violations of a pod under a level of a version (a minor, or Infinity for latest). */
export function violations(
  policy: { level: Level; minor: number },
  spec: Any,
  metadata: Any,
): Violation[] {
  if (policy.level === "privileged") return [];
  const minor = Math.min(policy.minor, NEWEST);
  const overridden = new Set<string>();
  if (policy.level === "restricted") {
    for (const check of CHECKS) {
      if (check.overrides && at(check, minor)) overridden.add(check.overrides);
    }
  }
  const found: Violation[] = [];
  for (const check of CHECKS) {
    if (check.level === "restricted" && policy.level !== "restricted") continue;
    if (overridden.has(check.id)) continue;
    const violation = at(check, minor)?.(spec ?? {}, metadata ?? {});
    if (violation) found.push(violation);
  }
  return found;
}

function at(check: Check, minor: number): CheckFn | undefined {
  let found: CheckFn | undefined;
  for (const [from, fn] of check.versions) if (from <= minor) found = fn;
  return found;
}

// --- words ------------------------------------------------------------------------------------------------

function quoted(items: Iterable<string>): string {
  const list = [...items];
  return list.length ? `"${list.join('", "')}"` : "";
}

function sorted(items: Iterable<string>): string[] {
  return [...new Set(items)].sort();
}

function plural(one: string, many: string, count: number): string {
  return count === 1 ? one : many;
}

function containersText(names: readonly string[]): string {
  return `${plural("container", "containers", names.length)} ${quoted(names)}`;
}

function containersOf(spec: Any): Any[] {
  return [
    ...spec.initContainers ?? [],
    ...spec.containers ?? [],
    ...spec.ephemeralContainers ?? [],
  ];
}

function namesWhere(spec: Any, bad: (container: Any) => boolean): string[] {
  return containersOf(spec).filter(bad).map((c) => c.name);
}

/** `pod`, `container "a"` or both, joined by `and`. */
function setters(pod: boolean, containers: readonly string[]): string[] {
  return [...(pod ? ["pod"] : []), ...(containers.length ? [containersText(containers)] : [])];
}

// --- checks -----------------------------------------------------------------------------------------------

/** Windows pods cannot set what this check asks for. */
function exceptWindows(check: CheckFn): CheckFn {
  return (spec, metadata) => spec.os?.name === "windows" ? undefined : check(spec, metadata);
}

/** In a user namespace of its own, root is nobody. */
function exceptUserNamespace(check: CheckFn): CheckFn {
  return (spec, metadata) => spec.hostUsers === false ? undefined : check(spec, metadata);
}

const allowPrivilegeEscalation: CheckFn = (spec) => {
  const bad = namesWhere(spec, (c) => c.securityContext?.allowPrivilegeEscalation !== false);
  return bad.length
    ? {
      reason: "allowPrivilegeEscalation != false",
      detail: `${containersText(bad)} must set securityContext.allowPrivilegeEscalation=false`,
    }
    : undefined;
};

const APPARMOR_PREFIX = "container.apparmor.security.beta.kubernetes.io/";

const appArmorProfile: CheckFn = (spec, metadata) => {
  const bad = (context: Any) =>
    context?.appArmorProfile && context.appArmorProfile.type !== "RuntimeDefault" &&
    context.appArmorProfile.type !== "Localhost";
  const pod = Boolean(bad(spec.securityContext));
  const names = namesWhere(spec, (c) => Boolean(bad(c.securityContext)));
  const values = sorted([
    ...(pod ? [String(spec.securityContext.appArmorProfile.type ?? "")] : []),
    ...containersOf(spec).filter((c) => bad(c.securityContext))
      .map((c) => String(c.securityContext.appArmorProfile.type ?? "")),
  ]);
  const who = setters(pod, names);
  const annotations = Object.entries<string>(metadata.annotations ?? {})
    .filter(([key, value]) =>
      key.startsWith(APPARMOR_PREFIX) && value !== "" && value !== "runtime/default" &&
      !value.startsWith("localhost/")
    )
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`).sort();
  if (annotations.length) {
    values.push(...annotations);
    who.push(plural("annotation", "annotations", annotations.length));
  }
  if (who.length === 0) return undefined;
  return {
    reason: plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.length),
    detail: `${who.join(" and ")} must not set AppArmor profile type to ${quoted(values)}`,
  };
};

const DEFAULT_CAPABILITIES = new Set([
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
]);

/** Containers that add capabilities beyond those allowed. */
function added(spec: Any, allowed: (capability: string) => boolean) {
  const forbidden = (c: Any): string[] =>
    (c.securityContext?.capabilities?.add ?? []).filter((name: string) => !allowed(name));
  const names = namesWhere(spec, (c) => forbidden(c).length > 0);
  if (names.length === 0) return undefined;
  const capabilities = sorted(containersOf(spec).flatMap(forbidden));
  return `${containersText(names)} must not include ${quoted(capabilities)} in ` +
    `securityContext.capabilities.add`;
}

const capabilitiesBaseline: CheckFn = (spec) => {
  const detail = added(spec, (name) => DEFAULT_CAPABILITIES.has(name));
  return detail ? { reason: "non-default capabilities", detail } : undefined;
};

const capabilitiesRestricted: CheckFn = (spec) => {
  const keeping = namesWhere(
    spec,
    (c) => !c.securityContext?.capabilities?.drop?.includes("ALL"),
  );
  const details: string[] = [];
  if (keeping.length) {
    details.push(`${containersText(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  }
  const adding = added(spec, (name) => name === "NET_BIND_SERVICE");
  if (adding) details.push(adding);
  return details.length
    ? { reason: "unrestricted capabilities", detail: details.join("; ") }
    : undefined;
};

const hostNamespaces: CheckFn = (spec) => {
  const used = ["hostNetwork", "hostPID", "hostIPC"].filter((name) => spec[name] === true);
  return used.length
    ? { reason: "host namespaces", detail: used.map((name) => `${name}=true`).join(", ") }
    : undefined;
};

const hostPathVolumes: CheckFn = (spec) => {
  const names = (spec.volumes ?? []).filter((v: Any) => v.hostPath).map((v: Any) => v.name);
  if (names.length === 0) return undefined;
  return {
    reason: "hostPath volumes",
    detail: `${plural("volume", "volumes", names.length)} ${quoted(names)}`,
  };
};

const hostPorts: CheckFn = (spec) => {
  const used = (c: Any): string[] =>
    (c.ports ?? []).filter((p: Any) => p.hostPort).map((p: Any) => String(p.hostPort));
  const names = namesWhere(spec, (c) => used(c).length > 0);
  if (names.length === 0) return undefined;
  const ports = sorted(containersOf(spec).flatMap(used));
  return {
    reason: "hostPort",
    detail: `${containersText(names)} ${plural("uses", "use", names.length)} ` +
      `${plural("hostPort", "hostPorts", ports.length)} ${ports.join(", ")}`,
  };
};

const hostProbes: CheckFn = (spec) => {
  const hosts = (c: Any): string[] =>
    [
      c.livenessProbe,
      c.readinessProbe,
      c.startupProbe,
      c.lifecycle?.postStart,
      c.lifecycle?.preStop,
    ].flatMap((handler) => [handler?.httpGet?.host, handler?.tcpSocket?.host])
      .filter((host) => host);
  const names = sorted(namesWhere(spec, (c) => hosts(c).length > 0));
  if (names.length === 0) return undefined;
  const forbidden = sorted(containersOf(spec).flatMap(hosts));
  const what = plural("probe or lifecycle host", "probe or lifecycle hosts", forbidden.length);
  return {
    reason: "probe or lifecycle host",
    detail: `${containersText(names)} ${plural("uses", "use", names.length)} ${what} ` +
      quoted(forbidden),
  };
};

const privileged: CheckFn = (spec) => {
  const names = namesWhere(spec, (c) => c.securityContext?.privileged === true);
  if (names.length === 0) return undefined;
  const detail = `${containersText(names)} must not set securityContext.privileged=true`;
  return { reason: "privileged", detail };
};

const procMount: CheckFn = (spec) => {
  const bad = (c: Any) =>
    (c.securityContext?.procMount ?? undefined) !== undefined &&
    c.securityContext.procMount !== "Default";
  const names = namesWhere(spec, bad);
  if (names.length === 0) return undefined;
  const values = sorted(
    containersOf(spec).filter(bad).map((c) => String(c.securityContext.procMount)),
  );
  return {
    reason: "procMount",
    detail: `${containersText(names)} must not set securityContext.procMount to ${quoted(values)}`,
  };
};

const GOOD_VOLUMES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
];
const BAD_VOLUMES = [
  "hostPath",
  "gcePersistentDisk",
  "awsElasticBlockStore",
  "gitRepo",
  "nfs",
  "iscsi",
  "glusterfs",
  "rbd",
  "flexVolume",
  "cinder",
  "cephfs",
  "flocker",
  "fc",
  "azureFile",
  "vsphereVolume",
  "quobyte",
  "azureDisk",
  "photonPersistentDisk",
  "portworxVolume",
  "scaleIO",
  "storageos",
];

const restrictedVolumes: CheckFn = (spec) => {
  const bad = (spec.volumes ?? []).filter((v: Any) => !GOOD_VOLUMES.some((type) => v[type]));
  if (bad.length === 0) return undefined;
  const types = sorted(
    bad.map((v: Any) => BAD_VOLUMES.find((type) => v[type]) ?? "unknown"),
  );
  const names = bad.map((v: Any) => v.name);
  const what = plural("restricted volume type", "restricted volume types", types.length);
  return {
    reason: "restricted volume types",
    detail: `${plural("volume", "volumes", names.length)} ${quoted(names)} ` +
      `${plural("uses", "use", names.length)} ${what} ${quoted(types)}`,
  };
};

const runAsNonRoot: CheckFn = (spec) => {
  const reason = "runAsNonRoot != true";
  const pod = spec.securityContext?.runAsNonRoot ?? undefined;
  const own = (c: Any) => c.securityContext?.runAsNonRoot ?? undefined;
  const who = setters(pod === false, namesWhere(spec, (c) => own(c) === false));
  if (who.length) {
    return {
      reason,
      detail: `${who.join(" and ")} must not set securityContext.runAsNonRoot=false`,
    };
  }
  const silent = pod === true ? [] : namesWhere(spec, (c) => own(c) === undefined);
  if (silent.length === 0) return undefined;
  const detail = `pod or ${containersText(silent)} must set securityContext.runAsNonRoot=true`;
  return { reason, detail };
};

const runAsUser: CheckFn = (spec) => {
  const who = setters(
    spec.securityContext?.runAsUser === 0,
    namesWhere(spec, (c) => c.securityContext?.runAsUser === 0),
  );
  if (who.length === 0) return undefined;
  return { reason: "runAsUser=0", detail: `${who.join(" and ")} must not set runAsUser=0` };
};

function seLinux(allowed: readonly string[]): CheckFn {
  return (spec) => {
    const options = (context: Any) => context?.seLinuxOptions ?? {};
    const badType = (o: Any) => o.type && !allowed.includes(o.type);
    const bad = (o: Any) => Boolean(badType(o) || o.user || o.role);
    const who = setters(
      bad(options(spec.securityContext)),
      namesWhere(spec, (c) => bad(options(c.securityContext))),
    );
    if (who.length === 0) return undefined;
    const all = [spec, ...containersOf(spec)].map((holder) => options(holder.securityContext));
    const types = sorted(all.filter(badType).map((o) => o.type));
    const data = [
      ...(types.length ? [`${plural("type", "types", types.length)} ${quoted(types)}`] : []),
      ...(all.some((o) => o.user) ? ["user may not be set"] : []),
      ...(all.some((o) => o.role) ? ["role may not be set"] : []),
    ];
    return {
      reason: "seLinuxOptions",
      detail: `${who.join(" and ")} set forbidden securityContext.seLinuxOptions: ` +
        data.join("; "),
    };
  };
}

const SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/";

/** Before 1.19 profiles were annotations. */
const seccompAnnotations: CheckFn = (spec, metadata) => {
  const keys = [SECCOMP_POD, ...containersOf(spec).map((c) => SECCOMP_CONTAINER + c.name)];
  const forbidden = sorted(
    keys.filter((key) => {
      const value = metadata.annotations?.[key];
      return value !== undefined && value !== "runtime/default" && value !== "docker/default" &&
        !value.startsWith("localhost/");
    }).map((key) => `${key}=${JSON.stringify(metadata.annotations[key])}`),
  );
  if (forbidden.length === 0) return undefined;
  const what = plural("annotation", "annotations", forbidden.length);
  return { reason: "seccompProfile", detail: `forbidden ${what} ${forbidden.join(", ")}` };
};

const seccompType = (holder: Any): string | undefined =>
  holder.securityContext?.seccompProfile
    ? String(holder.securityContext.seccompProfile.type ?? "")
    : undefined;
const goodSeccomp = (type: string | undefined) => type === "Localhost" || type === "RuntimeDefault";

const seccompBaseline: CheckFn = (spec) => {
  const bad = (holder: Any) =>
    seccompType(holder) !== undefined && !goodSeccomp(seccompType(holder));
  const who = setters(bad(spec), namesWhere(spec, bad));
  if (who.length === 0) return undefined;
  const values = sorted([spec, ...containersOf(spec)].filter(bad).map((h) => seccompType(h)!));
  return {
    reason: "seccompProfile",
    detail: `${who.join(" and ")} must not set securityContext.seccompProfile.type to ` +
      quoted(values),
  };
};

const seccompRestricted: CheckFn = (spec, metadata) => {
  const explicit = seccompBaseline(spec, metadata);
  if (explicit) return explicit;
  if (goodSeccomp(seccompType(spec))) return undefined;
  const silent = namesWhere(spec, (c) => seccompType(c) === undefined);
  if (silent.length === 0) return undefined;
  return {
    reason: "seccompProfile",
    detail: `pod or ${containersText(silent)} must set securityContext.seccompProfile.type to ` +
      `"RuntimeDefault" or "Localhost"`,
  };
};

const SYSCTLS: readonly [number, readonly string[]][] = [
  [0, [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
  ]],
  [27, ["net.ipv4.ip_local_reserved_ports"]],
  [29, [
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
  ]],
  [32, ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]],
];

function sysctls(minor: number): CheckFn {
  const allowed = new Set(SYSCTLS.flatMap(([from, names]) => from <= minor ? names : []));
  return (spec) => {
    const bad = (spec.securityContext?.sysctls ?? []).map((s: Any) => s.name)
      .filter((name: string) => !allowed.has(name));
    return bad.length ? { reason: "forbidden sysctls", detail: bad.join(", ") } : undefined;
  };
}

const windowsHostProcess: CheckFn = (spec) => {
  const bad = (holder: Any) => holder.securityContext?.windowsOptions?.hostProcess === true;
  const who = setters(bad(spec), namesWhere(spec, bad));
  if (who.length === 0) return undefined;
  return {
    reason: "hostProcess",
    detail: `${who.join(" and ")} must not set securityContext.windowsOptions.hostProcess=true`,
  };
};

const SELINUX_TYPES = ["container_t", "container_init_t", "container_kvm_t"];

/** All checks, in the order in which messages list them. */
const CHECKS: readonly Check[] = [
  { id: "appArmorProfile", level: "baseline", versions: [[0, appArmorProfile]] },
  { id: "capabilities_baseline", level: "baseline", versions: [[0, capabilitiesBaseline]] },
  { id: "hostNamespaces", level: "baseline", versions: [[0, hostNamespaces]] },
  { id: "hostPathVolumes", level: "baseline", versions: [[0, hostPathVolumes]] },
  { id: "hostPorts", level: "baseline", versions: [[0, hostPorts]] },
  { id: "hostProbesAndHostLifecycle", level: "baseline", versions: [[34, hostProbes]] },
  { id: "privileged", level: "baseline", versions: [[0, privileged]] },
  {
    id: "procMount",
    level: "baseline",
    versions: [[0, procMount], [35, exceptUserNamespace(procMount)]],
  },
  {
    id: "seLinuxOptions",
    level: "baseline",
    versions: [[0, seLinux(SELINUX_TYPES)], [
      31,
      seLinux([...SELINUX_TYPES, "container_engine_t"]),
    ]],
  },
  {
    id: "seccompProfile_baseline",
    level: "baseline",
    versions: [[0, seccompAnnotations], [19, seccompBaseline]],
  },
  {
    id: "sysctls",
    level: "baseline",
    versions: SYSCTLS.map(([from]): [number, CheckFn] => [from, sysctls(from)]),
  },
  { id: "windowsHostProcess", level: "baseline", versions: [[0, windowsHostProcess]] },
  {
    id: "allowPrivilegeEscalation",
    level: "restricted",
    versions: [[8, allowPrivilegeEscalation], [25, exceptWindows(allowPrivilegeEscalation)]],
  },
  {
    id: "capabilities_restricted",
    level: "restricted",
    versions: [[22, capabilitiesRestricted], [25, exceptWindows(capabilitiesRestricted)]],
    overrides: "capabilities_baseline",
  },
  {
    id: "procMount_restricted",
    level: "restricted",
    versions: [[35, procMount]],
    overrides: "procMount",
  },
  {
    id: "restrictedVolumes",
    level: "restricted",
    versions: [[0, restrictedVolumes]],
    overrides: "hostPathVolumes",
  },
  {
    id: "runAsNonRoot",
    level: "restricted",
    versions: [[0, runAsNonRoot], [35, exceptUserNamespace(runAsNonRoot)]],
  },
  {
    id: "runAsUser",
    level: "restricted",
    versions: [[23, runAsUser], [35, exceptUserNamespace(runAsUser)]],
  },
  {
    id: "seccompProfile_restricted",
    level: "restricted",
    versions: [[19, seccompRestricted], [25, exceptWindows(seccompRestricted)]],
    overrides: "seccompProfile_baseline",
  },
];
