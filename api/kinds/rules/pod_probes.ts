/** Validation of probes, lifecycle hooks and their handlers (upstream's `validateProbe`, `validateHandler`). */

import { isHttpHeaderName, isPortName, isPortNumber } from "../../machinery/names.ts";
import { isSet, type Path, type Report } from "./report.ts";

// deno-lint-ignore no-explicit-any -- objects are decoded JSON; the schema walk has checked their types
type Obj = any;

/** Checks a port given by number or name. */
export function validatePort(port: Obj, path: Path, r: Report): void {
  if (typeof port === "string") {
    const messages = isPortName(port);
    if (messages.length) r.check(messages, path, port);
    return;
  }
  const number = port ?? 0;
  if (number >= 1 && number <= 65535) return;
  r.check(isPortNumber(number), path, number);
}

const HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] as const;

function validateHttpGet(action: Obj, path: Path, r: Report): void {
  if (!action.path) r.required(path.child("path"));
  validatePort(action.port, path.child("port"), r);
  if (action.scheme !== "HTTP" && action.scheme !== "HTTPS") {
    r.notSupported(path.child("scheme"), action.scheme ?? "", ["HTTP", "HTTPS"]);
  }
  for (const { name = "" } of action.httpHeaders ?? []) {
    r.check(isHttpHeaderName(name), path.child("httpHeaders"), name);
  }
}

/** Checks the one thing a probe or hook does. */
function validateHandler(handler: Obj, grace: number | undefined, path: Path, r: Report): void {
  let found = 0;
  for (const type of HANDLERS) {
    const action = handler[type];
    if (!isSet(action)) continue;
    const at = path.child(type);
    if (found++ > 0) {
      r.forbidden(at, "may not specify more than 1 handler type");
      continue;
    }
    if (type === "exec") {
      if (!action.command?.length) r.required(at.child("command"));
    } else if (type === "httpGet") validateHttpGet(action, at, r);
    else if (type === "sleep") {
      const seconds = action.seconds ?? 0;
      if (grace !== undefined && (seconds < 0 || seconds > grace)) {
        const text = "must be non-negative and less than terminationGracePeriodSeconds";
        r.invalid(at, seconds, `${text} (${grace})`);
      }
    } else validatePort(action.port, at.child("port"), r);
  }
  if (found === 0) r.required(path, "must specify a handler type");
}

const COUNTS = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
] as const;

function validateProbe(probe: Obj, grace: number | undefined, path: Path, r: Report): void {
  validateHandler(probe, grace, path, r);
  for (const field of COUNTS) {
    if (probe[field] < 0) {
      r.invalid(path.child(field), probe[field], "must be greater than or equal to 0");
    }
  }
  const own = probe.terminationGracePeriodSeconds;
  if (isSet(own) && own <= 0) {
    r.invalid(path.child("terminationGracePeriodSeconds"), own, "must be greater than 0");
  }
}

/** Checks the three probes of a container. */
export function validateProbes(
  container: Obj,
  grace: number | undefined,
  path: Path,
  r: Report,
): void {
  const { livenessProbe, readinessProbe, startupProbe } = container;
  if (livenessProbe) {
    const at = path.child("livenessProbe");
    validateProbe(livenessProbe, grace, at, r);
    mustBeOne(livenessProbe, at, r);
  }
  if (readinessProbe) {
    const at = path.child("readinessProbe");
    validateProbe(readinessProbe, grace, at, r);
    const own = readinessProbe.terminationGracePeriodSeconds;
    if (isSet(own)) {
      const text = "must not be set for readinessProbes";
      r.invalid(at.child("terminationGracePeriodSeconds"), own, text);
    }
  }
  if (startupProbe) {
    const at = path.child("startupProbe");
    validateProbe(startupProbe, grace, at, r);
    mustBeOne(startupProbe, at, r);
  }
}

function mustBeOne(probe: Obj, path: Path, r: Report): void {
  const value = probe.successThreshold ?? 0;
  if (value !== 1) r.invalid(path.child("successThreshold"), value, "must be 1");
}

/** Signals that a container may be stopped with, on Linux. */
const LINUX_SIGNALS: ReadonlySet<string> = new Set(
  ("SIGABRT SIGALRM SIGBUS SIGCHLD SIGCLD SIGCONT SIGFPE SIGHUP SIGILL SIGINT SIGIO SIGIOT SIGKILL " +
    "SIGPIPE SIGPOLL SIGPROF SIGPWR SIGQUIT SIGSEGV SIGSTKFLT SIGSTOP SIGSYS SIGTERM SIGTRAP SIGTSTP " +
    "SIGTTIN SIGTTOU SIGURG SIGUSR1 SIGUSR2 SIGVTALRM SIGWINCH SIGXCPU SIGXFSZ SIGRTMIN SIGRTMAX")
    .split(" ").concat(
      Array.from({ length: 15 }, (_, i) => `SIGRTMIN+${i + 1}`),
      Array.from({ length: 14 }, (_, i) => `SIGRTMAX-${i + 1}`),
    ),
);
const WINDOWS_SIGNALS: ReadonlySet<string> = new Set(["SIGKILL", "SIGTERM"]);

/** Checks the hooks of a container. */
export function validateLifecycle(
  lifecycle: Obj,
  grace: number | undefined,
  path: Path,
  r: Report,
  os: string | undefined,
): void {
  if (lifecycle.postStart) validateHandler(lifecycle.postStart, grace, path.child("postStart"), r);
  if (lifecycle.preStop) validateHandler(lifecycle.preStop, grace, path.child("preStop"), r);
  const signal = lifecycle.stopSignal;
  if (!isSet(signal)) return;
  const at = path.child("stopSignal");
  if (!os) return r.forbidden(at, "may not be set for containers with empty `spec.os.name`");
  const known = os === "windows" ? WINDOWS_SIGNALS : LINUX_SIGNALS;
  if (!known.has(signal)) r.notSupported(at, signal, known);
}
