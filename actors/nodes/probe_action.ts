/**
 * One attempt of a probe: exec, HTTP, TCP or gRPC, and its result in upstream's words
 * (`pkg/probe/…`, `pkg/kubelet/prober/prober.go`).
 */
import type { DeepReadonly } from "../../api/machinery/types.ts";
import type { ContainerRecord } from "./container_record.ts";
import type { Network } from "./network/network.ts";
import type { WorkerPorts } from "./ports.ts";
import type { CommandEnd } from "./runtimes/runtime.ts";
import type { ContainerOf, Handler, Pod, Probe } from "./types.ts";

export type ProbeResult = "success" | "warning" | "failure" | "unknown";

/** What a probe is made at. */
export interface ProbeTarget {
  ports: WorkerPorts;
  pod: Pod;
  container: ContainerOf;
  record: ContainerRecord;
  ip: string;
}

/** Exec output that a failure shows. */
const OUTPUT_BYTES_MAX = 10 * 1024;

/** Makes one attempt. Never rejects: `error` is set when nothing could be found out. */
export async function probeOnce(
  probe: DeepReadonly<Probe>,
  target: ProbeTarget,
): Promise<{ result: ProbeResult; output: string }> {
  const { ports, container, record, ip } = target;
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  try {
    if (probe.exec) return await probeExec(probe.exec.command ?? [], record, timeoutMs, ports);
    if (!ports.dial) return { result: "unknown", output: "this node has no network" };
    if (probe.httpGet) {
      const request = requestOf(probe.httpGet, container, ip, ports.network, timeoutMs);
      const { status, body, location } = await ports.dial.http(request);
      if (status >= 300 && status < 400 && location) {
        return { result: "warning", output: `Probe terminated redirects, Response body: ${body}` };
      }
      if (status >= 200 && status < 400) return { result: "success", output: body };
      return { result: "failure", output: `HTTP probe failed with statuscode: ${status}` };
    }
    if (probe.tcpSocket) {
      const port = portOf(probe.tcpSocket.port, container);
      const at = ports.network.endpoint(probe.tcpSocket.host || ip, port);
      await ports.dial.tcp(at.hostname, at.port, timeoutMs);
      return { result: "success", output: "" };
    }
    if (probe.grpc) {
      const at = ports.network.endpoint(ip, probe.grpc.port);
      const service = probe.grpc.service ?? "";
      const status = await ports.dial.grpc(at.hostname, at.port, service, timeoutMs);
      if (status === "SERVING") return { result: "success", output: "service healthy" };
      return { result: "failure", output: `service unhealthy (responded with "${status}")` };
    }
    return { result: "unknown", output: "missing probe handler" };
  } catch (error) {
    return { result: "failure", output: (error as Error).message };
  }
}

async function probeExec(
  command: readonly string[],
  record: ContainerRecord,
  timeoutMs: number,
  ports: WorkerPorts,
): Promise<{ result: ProbeResult; output: string }> {
  const abort = new AbortController();
  const timer = ports.clock.timer("background", timeoutMs, () => abort.abort());
  try {
    const { exitCode, output, error } = await runCommand(record, command, abort.signal);
    if (abort.signal.aborted) {
      const text = `command timed out: "${command.join(" ")}" timed out after ${timeoutMs / 1000}s`;
      return { result: "failure", output: text };
    }
    if (error) return { result: "unknown", output: error };
    return { result: exitCode === 0 ? "success" : "failure", output };
  } finally {
    timer.cancel();
  }
}

/** Runs a command in a container to its end; output is both streams, cut. Aborting kills it. */
export async function runCommand(
  record: ContainerRecord,
  command: readonly string[],
  signal: AbortSignal,
): Promise<CommandEnd> {
  if (!record.id || !record.runtime) return { exitCode: -1, output: "", error: "not running" };
  if (record.runtime.run) return await record.runtime.run(record.id, command, signal);
  const process = await record.runtime.exec(record.id, {
    command,
    stdin: false,
    stdout: true,
    stderr: true,
    tty: false,
  });
  const stop = () => process.close();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let output = "";
  const collect = async (stream: ReadableStream<Uint8Array> | undefined) => {
    if (!stream) return;
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      if (output.length < OUTPUT_BYTES_MAX) output += decoder.decode(chunk, { stream: true });
    }
  };
  const streams = Promise.allSettled([collect(process.stdout), collect(process.stderr)]);
  const { exitCode = -1, error } = await process.ended;
  if (!signal.aborted) await streams;
  signal.removeEventListener("abort", stop);
  return { exitCode, output: output.slice(0, OUTPUT_BYTES_MAX), error };
}

/** A port by number or by the container's name for it. */
export function portOf(port: number | string, container: ContainerOf): number {
  const named = typeof port === "string"
    ? container.ports?.find((p) => p.name === port)?.containerPort ?? Number(port)
    : port;
  if (!(Number.isInteger(named) && named > 0 && named < 65536)) {
    throw new Error(`couldn't find port: ${port}`);
  }
  return named;
}

/** The GET of an `httpGet` handler. */
export function requestOf(
  get: DeepReadonly<NonNullable<Handler["httpGet"]>>,
  container: ContainerOf,
  ip: string,
  network: Network,
  timeoutMs: number,
) {
  const port = portOf(get.port, container);
  const host = get.host || ip;
  const scheme = (get.scheme ?? "HTTP").toLowerCase();
  const path = get.path ?? "/";
  const slash = path.startsWith("/") ? path : `/${path}`;
  const headers: [string, string][] = [];
  for (const { name, value } of get.httpHeaders ?? []) headers.push([name, value]);
  const has = (name: string) => headers.some(([key]) => key.toLowerCase() === name);
  if (!has("user-agent")) headers.push(["User-Agent", "kube-probe/1.36"]);
  if (!has("accept")) headers.push(["Accept", "*/*"]);
  const at = network.endpoint(host, port);
  const authority = host.includes(":") ? `[${host}]` : host;
  return { url: `${scheme}://${authority}:${port}${slash}`, ...at, headers, timeoutMs };
}
