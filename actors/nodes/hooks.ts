/**
 * Lifecycle hooks: exec in the container, an HTTP GET to it, or a sleep. A hook that fails rejects; how long
 * it may take is the caller's signal.
 */
import type { ContainerRecord } from "./container_record.ts";
import type { WorkerPorts } from "./ports.ts";
import { portOf, requestOf, runCommand } from "./probe_action.ts";
import type { DeepReadonly } from "../../api/machinery/types.ts";
import type { ContainerOf, Handler, Pod } from "./types.ts";

/** Whose hook it is. */
export interface HookTarget {
  ports: WorkerPorts;
  pod: Pod;
  container: ContainerOf;
  record: ContainerRecord;
  ip: string;
}

/** Whether there is anything to run: only a sleep needs no process in the container. */
export function canRun(hook: DeepReadonly<Handler>, runtime: { real: boolean }): boolean {
  return runtime.real || hook.sleep !== undefined;
}

/** See the module's text. */
export async function runHook(
  hook: DeepReadonly<Handler>,
  target: HookTarget,
  signal: AbortSignal,
): Promise<void> {
  const { ports, container, record, ip } = target;
  if (hook.exec) {
    const command = hook.exec.command ?? [];
    const { exitCode, output, error } = await runCommand(record, command, signal);
    if (error) throw new Error(error);
    if (exitCode !== 0) {
      const text = JSON.stringify(output);
      throw new Error(
        `command '${command.join(" ")}' exited with ${exitCode}: , message: ${text}`,
      );
    }
  } else if (hook.httpGet) {
    if (!ports.dial) throw new Error("this node has no network");
    const request = requestOf(hook.httpGet, container, ip, ports.network, HOOK_HTTP_MS_MAX);
    const { status } = await abortable(ports.dial.http(request), signal);
    if (status >= 400) throw new Error(`HTTP hook failed with statuscode: ${status}`);
  } else if (hook.sleep) {
    await ports.clock.sleep(hook.sleep.seconds * 1000, { signal });
  } else if (hook.tcpSocket) {
    const port = portOf(hook.tcpSocket.port, container);
    const { hostname, port: at } = ports.network.endpoint(hook.tcpSocket.host ?? ip, port);
    await ports.dial?.tcp(hostname, at, HOOK_HTTP_MS_MAX);
  } else {
    throw new Error("Invalid handler: no action is given");
  }
}

const HOOK_HTTP_MS_MAX = 60_000;

function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
