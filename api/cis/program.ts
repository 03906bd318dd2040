/**
 * `deno task cis [--kubeconfig FILE] [--data .plesio] [--only 5.2] [--json]`: looks at a running cluster, item by item
 * of the CIS Kubernetes Benchmark (`mod.ts`), and prints a table. Exit code 1: something FAILs.
 *
 * It needs an administrator's kubeconfig (default: the one in the data folder) and changes nothing.
 */
import { request } from "node:https";
import { connect } from "node:net";
import { Buffer } from "node:buffer";
import { parseArgs } from "node:util";
import { type AskOptions, selfCheck, type Sources, tableOf } from "./mod.ts";
import { type Access, currentAccess } from "../auth/kubeconfig.ts";

/** Longest that an answer may take, in ms. */
const ANSWER_MS_MAX = 30_000;

function asker(access: Access): Sources["ask"] {
  return (path: string, options: AskOptions = {}) =>
    new Promise((resolve, reject) => {
      const { method = "GET", type = "application/json", accept = "application/json" } = options;
      const body = options.body === undefined ? undefined : JSON.stringify(options.body);
      const headers: Record<string, string | string[]> = { accept };
      if (body !== undefined) headers["content-type"] = type;
      if (access.token && !options.anonymous) headers.authorization = `Bearer ${access.token}`;
      if (options.as) {
        headers["impersonate-user"] = options.as.user;
        headers["impersonate-group"] = [...options.as.groups ?? []];
      }
      const { certificatePem: cert, keyPem: key } = access;
      const identity = options.anonymous ? {} : { cert, key };
      const asked = request(new URL(path, access.server), {
        method,
        headers,
        ca: access.authorityPem,
        ...identity,
        agent: false,
        timeout: ANSWER_MS_MAX,
      }, (answer) => {
        const parts: Uint8Array[] = [];
        answer.on("data", (part) => parts.push(part));
        answer.on("error", reject);
        answer.on("end", () => {
          const text = Buffer.concat(parts).toString("utf8");
          resolve({ status: answer.statusCode ?? 0, body: jsonOr(text) });
        });
      });
      asked.on("timeout", () => asked.destroy(new Error(`${path}: no answer`)));
      asked.on("error", reject);
      asked.end(body);
    });
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {}; // Texts are not what checks read.
  }
}

/** Longest that a greeting and a connection may take, in ms. */
const CONNECT_MS_MAX = 2_000;
const HANDSHAKE = 0x16;

/** A TLS ClientHello, written by hand: libraries do not offer what nobody should agree to. */
function greeting(version: number, suites: readonly number[]): Uint8Array {
  const u16 = (n: number) => [n >> 8, n & 0xff];
  const sized = (bytes: number[]) => [...u16(bytes.length), ...bytes];
  const groups = [0x00, 0x0a, ...sized(sized([0x00, 0x1d, 0x00, 0x17]))];
  const points = [0x00, 0x0b, ...sized([0x01, 0x00])];
  const signatures = [0x00, 0x0d, ...sized(sized([4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 2, 1]))];
  const body = [
    ...u16(version),
    ...crypto.getRandomValues(new Uint8Array(32)),
    0x00,
    ...sized(suites.flatMap(u16)),
    0x01,
    0x00,
    ...sized([...groups, ...points, ...signatures]),
  ];
  const message = [0x01, 0x00, ...sized(body)];
  return new Uint8Array([HANDSHAKE, 0x03, 0x01, ...sized(message)]);
}

/** The first byte that somebody answers with; undefined when nobody does. */
function firstByte(host: string, port: number, hello?: Uint8Array): Promise<number | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT_MS_MAX }, () => {
      if (hello) return void socket.write(hello);
      socket.destroy();
      resolve(0);
    });
    socket.once("data", (bytes) => (socket.destroy(), resolve(Number((bytes as Uint8Array)[0]))));
    socket.on("timeout", () => (socket.destroy(), resolve(undefined)));
    socket.on("error", () => resolve(undefined));
    socket.on("close", () => resolve(undefined));
  });
}

/** What can be looked at from here. */
export function sourcesOf(kubeconfig: string, data: string | undefined): Sources {
  const access = currentAccess(kubeconfig, Deno.readTextFileSync);
  const server = new URL(access.server);
  return {
    ask: asker(access),
    greets: async (version, suites) => {
      const { hostname, port } = server;
      return await firstByte(hostname, Number(port || 443), greeting(version, suites)) ===
        HANDSHAKE;
    },
    reaches: async (host, port) => await firstByte(host, port) !== undefined,
    credentials: access.certificatePem ? "certificate" : "token",
    ...(data && {
      modeOf: async (name: string) => {
        const found = await Deno.stat(name ? `${data}/${name}` : data).catch(() => undefined);
        return found?.mode ?? undefined;
      },
    }),
  };
}

async function main(args: string[]): Promise<boolean> {
  const { values } = parseArgs({
    args,
    options: {
      kubeconfig: { type: "string" },
      data: { type: "string" },
      only: { type: "string", default: "" },
      json: { type: "boolean", default: false },
    },
  });
  const standard = ".plesio";
  const isThere = await Deno.stat(standard).then(() => true, () => false);
  const data = values.data ?? (values.kubeconfig || !isThere ? undefined : standard);
  const path = values.kubeconfig ?? `${data ?? standard}/kubeconfig`;
  const findings = await selfCheck(sourcesOf(await Deno.readTextFile(path), data), values.only);
  console.log(values.json ? JSON.stringify(findings, null, 2) : tableOf(findings));
  return findings.every(({ verdict }) => verdict !== "FAIL");
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args) ? 0 : 1);
  } catch (error) {
    console.error(`cis: ${error instanceof Error ? error.message : error}`);
    Deno.exit(2);
  }
}
