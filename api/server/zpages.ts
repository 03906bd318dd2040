/**
 * `/statusz` and `/flagz`: since when this server runs and how it was started, as text for people, and as objects of
 * `config.k8s.io` for those who ask for them. `/metrics` has what the process takes.
 */
import { notAcceptable } from "../machinery/errors.ts";
import { formatTime } from "../machinery/time.ts";
import { toYaml } from "../machinery/yaml.ts";
import { VERSION } from "./health.ts";
import type { Call, Reply } from "./http.ts";
import { textReply } from "./http.ts";

const WARNING =
  "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility " +
  "guarantees and is for debugging purposes only.";
const MEDIA = ["application/json", "application/yaml", "text/plain"];
const COMPONENT = "apiserver";

/** What these pages tell. */
export interface PageFacts {
  /** Wall time in ms. */
  startedAt: number;
  now: number;
  /** Values of flags by name. */
  flags: Readonly<Record<string, string>>;
}

const PATHS = ["/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version"];

/** Answers `/statusz`. Throws 406. */
export function statuszReply(call: Call, { startedAt, now }: PageFacts): Reply {
  const seconds = Math.floor((now - startedAt) / 1000);
  const emulationVersion = `${VERSION.emulationMajor}.${VERSION.emulationMinor}`;
  const binaryVersion = VERSION.gitVersion.slice(1);
  return pageReply(call, "Statusz", {
    startTime: formatTime(startedAt),
    uptimeSeconds: seconds,
    goVersion: VERSION.goVersion,
    binaryVersion,
    emulationVersion,
    paths: PATHS,
  }, [
    "",
    `Started: ${new Date(startedAt).toUTCString()}`,
    `Up: ${Math.floor(seconds / 3600)} hr ${pad(Math.floor(seconds / 60) % 60)} min ${
      pad(seconds % 60)
    } sec`,
    `Go version: ${VERSION.goVersion}`,
    `Binary version: ${binaryVersion}`,
    `Emulation version: ${emulationVersion}`,
    `Paths: ${PATHS.join(" ")}`,
  ]);
}

function pad(number: number): string {
  return String(number).padStart(2, "0");
}

/** Answers `/flagz`. Throws 406. */
export function flagzReply(call: Call, { flags }: PageFacts): Reply {
  const names = Object.keys(flags).sort();
  return pageReply(
    call,
    "Flagz",
    { flags: Object.fromEntries(names.map((name) => [name, flags[name]])) },
    names.map((name) => `${name}: ${flags[name]}`),
  );
}

function pageReply(call: Call, kind: string, facts: object, lines: readonly string[]): Reply {
  const accept = call.header("accept") ?? "";
  const clauses = accept.split(",").map((clause) => clause.trim().split(";").map((s) => s.trim()));
  for (const [media, ...parameters] of clauses) {
    const of = new Map(parameters.map((one) => one.split("=") as [string, string]));
    const version = of.get("v") ?? "";
    if (
      of.get("g") === "config.k8s.io" && of.get("as") === kind && /^v1(alpha|beta)1$/.test(version)
    ) {
      if (media !== "application/json" && media !== "application/yaml") continue;
      return objectReply(media, kind, version, facts);
    }
    if (media === "" || media === "*/*" || media === "text/*" || media === "text/plain") {
      const text = ["", `${COMPONENT} ${kind.toLowerCase()}`, WARNING, ...lines, ""].join("\n");
      return textReply(200, text);
    }
  }
  throw notAcceptable(MEDIA);
}

function objectReply(media: string, kind: string, version: string, facts: object): Reply {
  const apiVersion = `config.k8s.io/${version}`;
  const value = { kind, apiVersion, metadata: { name: COMPONENT }, ...facts };
  const text = media.endsWith("yaml") ? toYaml(value) : JSON.stringify(value, undefined, 2);
  const type = `${media};g=config.k8s.io;v=${version};as=${kind}`;
  const headers: Reply["headers"] = { "content-type": type };
  if (version === "v1alpha1") {
    headers.warning = [
      `299 - "This version of the ${kind.toLowerCase()} endpoint is deprecated. ` +
      `Please use a newer version."`,
    ];
  }
  return { status: 200, headers, body: new TextEncoder().encode(text) };
}

/** What this process takes of its machine. */
export interface Usage {
  residentBytes: number;
  cpuSeconds: number;
  /** Absent where the machine does not tell. */
  openFiles?: number;
}

/** Lines for `/metrics` about the process and the build. */
export function processLines(usage: Usage, startedAt: number): string {
  const lines: string[] = [];
  const add = (name: string, type: string, help: string, value: string) =>
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, value);
  const gauge = (name: string, help: string, value: number, type = "gauge") =>
    add(name, type, help, `${name} ${value}`);
  const { buildDate, compiler, gitCommit, gitTreeState, gitVersion, goVersion } = VERSION;
  const { major, minor, platform } = VERSION;
  add(
    "kubernetes_build_info",
    "gauge",
    "What this is",
    `kubernetes_build_info{build_date="${buildDate}",compiler="${compiler}",` +
      `git_commit="${gitCommit}",git_tree_state="${gitTreeState}",git_version="${gitVersion}",` +
      `go_version="${goVersion}",major="${major}",minor="${minor}",platform="${platform}"} 1`,
  );
  gauge("process_start_time_seconds", "When the process started", startedAt / 1000);
  gauge("process_resident_memory_bytes", "Memory in use", usage.residentBytes);
  gauge("process_cpu_seconds_total", "Processor time used", usage.cpuSeconds, "counter");
  if (usage.openFiles !== undefined) {
    gauge("process_open_fds", "Open files and sockets", usage.openFiles);
  }
  return lines.join("\n");
}
