/**
 * Validation of security contexts of pods and containers, and of the old annotations beside them (upstream's
 * `ValidateSecurityContext`, `validatePodSpecSecurityContext` and their parts).
 */

import { internalValue } from "./internal_value.ts";
import { isDns1123Subdomain, isGroupId, isUserId } from "../../machinery/names.ts";
import { isSet, type Path, type Report } from "./report.ts";
import { validateDescendingPath } from "./validate_paths.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;
type Annotations = Readonly<Record<string, string>>;

const PROFILE_TYPES = ["Localhost", "RuntimeDefault", "Unconfined"];
const PROFILE_BYTES_MAX = 4095;

function validateSeccomp(profile: Obj, path: Path, r: Report): void {
  const { type, localhostProfile } = profile;
  if (!type) r.required(path.child("type"), "type is required when seccompProfile is set");
  else if (!PROFILE_TYPES.includes(type)) r.notSupported(path.child("type"), type, PROFILE_TYPES);
  const at = path.child("localhostProfile");
  if (type === "Localhost") {
    if (!isSet(localhostProfile)) r.required(at, "must be set when seccomp type is Localhost");
    else validateDescendingPath(localhostProfile, at, r);
  } else if (isSet(localhostProfile)) {
    const shown = internalValue("SeccompProfile", profile);
    r.invalid(at, shown, "can only be set when seccomp type is Localhost");
  }
}

function validateAppArmor(profile: Obj, path: Path, r: Report): void {
  const { type, localhostProfile } = profile;
  const at = path.child("localhostProfile");
  const needed = "must be set when AppArmor type is Localhost";
  if (type === "Localhost") {
    if (!isSet(localhostProfile)) return r.required(at, needed);
    if (localhostProfile.trim() !== localhostProfile) {
      r.invalid(at, localhostProfile, "must not be padded with whitespace");
    } else if (localhostProfile === "") r.required(at, needed);
    if (localhostProfile.length > PROFILE_BYTES_MAX) r.tooLong(at, PROFILE_BYTES_MAX);
  } else if (type === "RuntimeDefault" || type === "Unconfined") {
    if (isSet(localhostProfile)) {
      r.invalid(at, localhostProfile, "can only be set when AppArmor type is Localhost");
    }
  } else if (!type) {
    r.required(path.child("type"), "type is required when appArmorProfile is set");
  } else r.notSupported(path.child("type"), type, PROFILE_TYPES);
}

function validateIds(context: Obj, path: Path, r: Report): void {
  if (isSet(context.runAsUser)) {
    r.check(isUserId(context.runAsUser), path.child("runAsUser"), context.runAsUser);
  }
  if (isSet(context.runAsGroup)) {
    r.check(isGroupId(context.runAsGroup), path.child("runAsGroup"), context.runAsGroup);
  }
}

function validateProfiles(context: Obj, path: Path, r: Report): void {
  if (isSet(context.seccompProfile)) {
    validateSeccomp(context.seccompProfile, path.child("seccompProfile"), r);
  }
  if (isSet(context.windowsOptions)) {
    validateWindowsOptions(context.windowsOptions, path.child("windowsOptions"), r);
  }
  if (isSet(context.appArmorProfile)) {
    validateAppArmor(context.appArmorProfile, path.child("appArmorProfile"), r);
  }
}

const PROC_MOUNTS = ["Default", "Unmasked"];

/** Checks a container's security context. */
export function validateContainerSecurity(
  context: Obj,
  path: Path,
  r: Report,
  hostUsers: boolean,
): void {
  const { procMount, allowPrivilegeEscalation, privileged, capabilities } = context;
  validateIds(context, path, r);
  if (isSet(procMount)) {
    const at = path.child("procMount");
    if (!PROC_MOUNTS.includes(procMount)) r.notSupported(at, procMount, PROC_MOUNTS);
    else if (procMount === "Unmasked" && hostUsers) {
      r.invalid(at, procMount, "`hostUsers` must be false to use `Unmasked`");
    }
  }
  if (allowPrivilegeEscalation === false) {
    const text = "cannot set `allowPrivilegeEscalation` to false and";
    const shown = internalValue("SecurityContext", context);
    if (privileged === true) r.invalid(path, shown, `${text} \`privileged\` to true`);
    if (capabilities?.add?.includes("CAP_SYS_ADMIN")) {
      r.invalid(path, shown, `${text} \`capabilities.Add\` CAP_SYS_ADMIN`);
    }
  }
  validateProfiles(context, path, r);
}

const SYSCTL_BYTES_MAX = 253;
const SYSCTL_TEXT = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const SYSCTL = new RegExp(SYSCTL_TEXT);

/** The namespace that a kernel parameter belongs to. */
function sysctlNamespace(name: string): "net" | "ipc" | "" {
  const first = name.search(/[./]/);
  const dotted = first >= 0 && name[first] === "/"
    ? name.replace(/[./]/g, (c) => c === "/" ? "." : "/")
    : name;
  if (dotted.startsWith("net.")) return "net";
  if (dotted.startsWith("kernel.shm") || dotted.startsWith("kernel.msg")) return "ipc";
  return dotted.startsWith("fs.mqueue.") || dotted === "kernel.sem" ? "ipc" : "";
}

function validateSysctls(sysctls: Obj[], spec: Obj, path: Path, r: Report): void {
  const seen = new Set<string>();
  sysctls.forEach(({ name = "" }, i) => {
    const at = path.index(i).child("name");
    if (name === "") r.required(at);
    else if (name.length > SYSCTL_BYTES_MAX || !SYSCTL.test(name)) {
      const text =
        `must have at most ${SYSCTL_BYTES_MAX} characters and match regex ${SYSCTL_TEXT}`;
      r.invalid(at, name, text);
    } else if (seen.has(name)) r.duplicate(at, name);
    const namespace = sysctlNamespace(name);
    if (spec.hostNetwork && namespace === "net") {
      r.invalid(at, name, "may not be specified when 'hostNetwork' is true");
    } else if (spec.hostIPC && namespace === "ipc") {
      r.invalid(at, name, "may not be specified when 'hostIPC' is true");
    }
    seen.add(name);
  });
}

const ENUMS: readonly [string, readonly string[]][] = [
  ["fsGroupChangePolicy", ["Always", "OnRootMismatch"]],
  ["supplementalGroupsPolicy", ["Merge", "Strict"]],
  ["seLinuxChangePolicy", ["Recursive"]],
];

/** Checks a pod's security context; `spec` holds the host namespaces. */
export function validatePodSecurity(context: Obj, spec: Obj, path: Path, r: Report): void {
  if (isSet(context.fsGroup)) {
    r.check(isGroupId(context.fsGroup), path.child("fsGroup"), context.fsGroup);
  }
  validateIds(context, path, r);
  context.supplementalGroups?.forEach((id: number, i: number) => {
    r.check(isGroupId(id), path.child("supplementalGroups").index(i), id);
  });
  if (spec.shareProcessNamespace === true && spec.hostPID) {
    const text = "ShareProcessNamespace and HostPID cannot both be enabled";
    r.invalid(path.child("shareProcessNamespace"), true, text);
  }
  if (context.sysctls?.length) validateSysctls(context.sysctls, spec, path.child("sysctls"), r);
  for (const [field, values] of ENUMS) {
    const value = context[field];
    if (isSet(value) && !values.includes(value)) r.notSupported(path.child(field), value, values);
  }
  validateProfiles(context, path, r);
}

// --- Windows ----------------------------------------------------------------------------------------

const GMSA_KIB_MAX = 64;
const DOMAIN_LENGTH_MAX = 256;
const USER_LENGTH_MAX = 104;
// deno-lint-ignore no-control-regex -- control characters are what it looks for
const CONTROL = /[\u0000-\u001f\u007f]/;
const NETBIOS = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const DNS_DOMAIN =
  /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;
const USER_FORBIDDEN = /["/\\:;|=,+*?<>@[\]]/;
const DOTS_SPACES = /^[. ]+$/;

function validateWindowsOptions(options: Obj, path: Path, r: Report): void {
  const { gmsaCredentialSpecName, gmsaCredentialSpec, runAsUserName } = options;
  if (isSet(gmsaCredentialSpecName)) {
    const at = path.child("gmsaCredentialSpecName");
    r.check(isDns1123Subdomain(gmsaCredentialSpecName), at, gmsaCredentialSpecName);
  }
  if (isSet(gmsaCredentialSpec)) {
    const at = path.child("gmsaCredentialSpec");
    if (gmsaCredentialSpec === "") {
      r.invalid(at, "", "gmsaCredentialSpec cannot be an empty string");
    } else if (gmsaCredentialSpec.length > GMSA_KIB_MAX * 1024) {
      r.invalid(
        at,
        gmsaCredentialSpec,
        `gmsaCredentialSpec size must be under ${GMSA_KIB_MAX} KiB`,
      );
    }
  }
  if (isSet(runAsUserName)) validateUserName(runAsUserName, path.child("runAsUserName"), r);
}

function validateUserName(name: string, path: Path, r: Report): void {
  const say = (text: string) => r.invalid(path, name, text);
  const parts = name.split("\\");
  if (name === "") return say("runAsUserName cannot be an empty string");
  if (CONTROL.test(name)) return say("runAsUserName cannot contain control characters");
  if (parts.length > 2) return say("runAsUserName cannot contain more than one backslash");
  const domain = parts.length === 2 ? parts[0] : undefined;
  const user = parts[parts.length - 1];
  if (domain !== undefined && domain.length >= DOMAIN_LENGTH_MAX) {
    say(`runAsUserName's Domain length must be under ${DOMAIN_LENGTH_MAX} characters`);
  }
  if (domain !== undefined && !NETBIOS.test(domain) && !DNS_DOMAIN.test(domain)) {
    say("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
  }
  if (user === "") say("runAsUserName's User cannot be empty");
  else if (user.length > USER_LENGTH_MAX) {
    say(`runAsUserName's User length must not be longer than ${USER_LENGTH_MAX} characters`);
  }
  if (DOTS_SPACES.test(user)) say("runAsUserName's User cannot contain only periods or spaces");
  if (USER_FORBIDDEN.test(user)) {
    say("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
  }
}

/** Calls `visit` for each container of a spec, init containers first. */
export function eachContainer(
  spec: Obj,
  path: Path,
  visit: (container: Obj, path: Path) => void,
): void {
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    const containers: Obj[] = spec[list] ?? [];
    for (let i = 0; i < containers.length; i++) visit(containers[i], path.child(list).index(i));
  }
}

/** Checks that host process containers come alone and with the host's network. */
export function validateHostProcess(spec: Obj, path: Path, r: Report): void {
  const podValue = spec.securityContext?.windowsOptions?.hostProcess;
  let count = 0, total = 0;
  let conflict = false;
  for (const list of [spec.initContainers, spec.containers, spec.ephemeralContainers]) {
    for (const container of list ?? []) {
      total++;
      const own = container.securityContext?.windowsOptions?.hostProcess;
      if (own === true || (!isSet(own) && podValue === true)) count++;
      if (isSet(own) && isSet(podValue) && own !== podValue) conflict = true;
    }
  }
  if (conflict) {
    eachContainer(spec, path, (container, at) => {
      const own = container.securityContext?.windowsOptions?.hostProcess;
      if (!isSet(own) || own === podValue) return;
      const text = `pod hostProcess value must be identical if both are specified, was ${podValue}`;
      r.invalid(at.child("securityContext", "windowsOptions", "hostProcess"), own, text);
    });
  }
  if (count === 0) return;
  if (count !== total) {
    const text = "If pod contains any hostProcess containers then all containers must be " +
      "HostProcess containers";
    r.invalid(path, "", text);
  }
  if (!spec.hostNetwork) {
    const text = "hostNetwork must be true if pod contains any hostProcess containers";
    r.invalid(path.child("hostNetwork"), false, text);
  }
}

const POD_NOT_WINDOWS = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "fsGroup",
  "fsGroupChangePolicy",
  "sysctls",
  "runAsUser",
  "runAsGroup",
  "supplementalGroups",
  "supplementalGroupsPolicy",
  "seLinuxChangePolicy",
];
const CONTAINER_NOT_WINDOWS = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "capabilities",
  "readOnlyRootFilesystem",
  "privileged",
  "allowPrivilegeEscalation",
  "procMount",
  "runAsUser",
  "runAsGroup",
];

/** Checks that a pod for one operating system sets nothing of the other's. */
export function validateOs(spec: Obj, path: Path, r: Report): void {
  const name = spec.os.name;
  if (!name) return r.required(path.child("os", "name"));
  if (name !== "linux" && name !== "windows") {
    return r.notSupported(path.child("os"), name, ["linux", "windows"]);
  }
  const context = spec.securityContext ?? {};
  if (name === "linux") {
    const text = "windows options cannot be set for a linux pod";
    const field = "windowsOptions";
    if (isSet(context[field])) r.forbidden(path.child("securityContext", field), text);
    eachContainer(spec, path, (container, at) => {
      if (isSet(container.securityContext?.[field])) {
        r.forbidden(at.child("securityContext", field), text);
      }
    });
    return;
  }
  const text = "cannot be set for a windows pod";
  for (const field of POD_NOT_WINDOWS) {
    if (isSet(context[field])) r.forbidden(path.child("securityContext", field), text);
  }
  if (isSet(spec.hostUsers)) r.forbidden(path.child("hostUsers"), text);
  if (spec.hostPID) r.forbidden(path.child("hostPID"), text);
  if (spec.hostIPC) r.forbidden(path.child("hostIPC"), text);
  if (isSet(spec.shareProcessNamespace)) r.forbidden(path.child("shareProcessNamespace"), text);
  eachContainer(spec, path, (container, at) => {
    for (const field of CONTAINER_NOT_WINDOWS) {
      if (isSet(container.securityContext?.[field])) {
        r.forbidden(at.child("securityContext", field), text);
      }
    }
  });
}

// --- annotations ------------------------------------------------------------------------------------

const SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/";
/** Prefix of the old AppArmor annotations. */
export const APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/";

/** Checks the old annotations for seccomp and AppArmor. */
export function validateProfileAnnotations(
  annotations: Annotations,
  spec: Obj,
  path: Path,
  r: Report,
): void {
  for (const key in annotations) {
    const value = annotations[key];
    if (key === SECCOMP_POD || key.startsWith(SECCOMP_CONTAINER)) {
      const at = path.child(key);
      if (value.startsWith("localhost/")) {
        validateDescendingPath(value.slice("localhost/".length), at, r);
      } else if (!["runtime/default", "docker/default", "unconfined"].includes(value)) {
        r.invalid(at, value, "must be a valid seccomp profile");
      }
    } else if (key.startsWith(APP_ARMOR)) {
      const name = key.slice(APP_ARMOR.length);
      let found = false;
      eachContainer(spec, path, (container) => found ||= container.name === name);
      if (!found) r.invalid(path.key(key), name, "container not found");
      const known = value === "" || value === "runtime/default" || value === "unconfined";
      if (!known && !value.startsWith("localhost/")) {
        r.invalid(path.key(key), value, `invalid AppArmor profile name: "${value}"`);
      }
    }
  }
}

function validateMatch(value: string, profile: Obj, path: Path, r: Report, what: string): void {
  const typeText = `${what} type in annotation and field must match`;
  if (profile.type === "Unconfined") {
    if (value !== "unconfined") r.forbidden(path.child("type"), typeText);
  } else if (profile.type === "RuntimeDefault") {
    const good = value === "runtime/default" || (what === "seccomp" && value === "docker/default");
    if (!good) r.forbidden(path.child("type"), typeText);
  } else if (profile.type === "Localhost") {
    if (!value.startsWith("localhost/")) r.forbidden(path.child("type"), typeText);
    else if (value.slice("localhost/".length) !== profile.localhostProfile) {
      const text = `${what} profile in annotation and field must match`;
      r.forbidden(path.child("localhostProfile"), text);
    }
  }
}

/** Checks that annotations and fields do not contradict each other. */
export function validateProfilesMatch(
  annotations: Annotations,
  spec: Obj,
  path: Path,
  r: Report,
): void {
  const context = spec.securityContext ?? {};
  const pod = annotations[SECCOMP_POD];
  if (pod !== undefined && context.seccompProfile) {
    const at = path.child("securityContext", "seccompProfile");
    validateMatch(pod, context.seccompProfile, at, r, "seccomp");
  }
  eachContainer(spec, path, (container, at) => {
    const own = container.securityContext ?? {};
    const seccomp = annotations[SECCOMP_CONTAINER + container.name];
    if (seccomp !== undefined && own.seccompProfile) {
      const profileAt = at.child("securityContext", "seccompProfile");
      validateMatch(seccomp, own.seccompProfile, profileAt, r, "seccomp");
    }
    const armor = annotations[APP_ARMOR + container.name];
    const profile = own.appArmorProfile ?? context.appArmorProfile;
    if (armor !== undefined && profile && spec.os?.name !== "windows") {
      validateMatch(armor, profile, at.child("securityContext", "appArmorProfile"), r, "apparmor");
    }
  });
}
