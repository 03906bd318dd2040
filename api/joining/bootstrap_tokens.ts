/**
 * Bootstrap tokens as `deno task token` makes, lists and deletes them: Secrets of type `bootstrap.kubernetes.io/token`,
 * kubeadm's defaults, its table and its words.
 */
import { Buffer } from "node:buffer";
import { createHash, X509Certificate } from "node:crypto";
import type { Clock } from "../../kv/clock.ts";
import type { Client } from "../client/contract.ts";
import type { DeepReadonly, KubeObject } from "../machinery/types.ts";
import { formatTime, parseTime, shortHumanDuration } from "../machinery/time.ts";
import { TOKEN_GROUP } from "./policy.ts";

/** How long a token is good where nothing else is said. */
export const TOKEN_TTL_MS = 24 * 3_600_000;
/** What a token may be for. */
export const USAGES = ["signing", "authentication"] as const;
const SECRETS = { group: "", version: "v1", plural: "secrets" };
const TYPE = "bootstrap.kubernetes.io/token";
const PATTERN = "\\A([a-z0-9]{6})\\.([a-z0-9]{16})\\z";
const ID_PATTERN = "\\A([a-z0-9]{6})\\z";
const GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;
const GROUP_PATTERN = "\\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\\z";

/** A token taken apart. */
export interface TokenParts {
  id: string;
  secret: string;
}

/** Takes a token apart. Throws TypeError when it is none. */
export function parseToken(text: string): TokenParts {
  const match = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(text);
  if (!match) {
    throw new TypeError(
      `the bootstrap token ${JSON.stringify(text)} was not of the form ${JSON.stringify(PATTERN)}`,
    );
  }
  return { id: match[1], secret: match[2] };
}

const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** A new token that nobody can guess. */
export function generateToken(clock: Pick<Clock, "bytes">): string {
  let text = "";
  while (text.length < 22) {
    for (const byte of clock.bytes(32)) {
      // What is left over of 256 would make some letters likelier than others
      if (byte < 252 && text.length < 22) text += LETTERS[byte % 36];
    }
  }
  return `${text.slice(0, 6)}.${text.slice(6)}`;
}

/** What a token is made with. */
export interface TokenOptions {
  /** 0: for ever. */
  ttlMs?: number;
  description?: string;
  usages?: readonly string[];
  groups?: readonly string[];
}

/** Makes a token's Secret. Throws TypeError for what is asked wrongly, ApiError 409 when the id is taken. */
export async function createToken(
  client: Client,
  clock: Pick<Clock, "now">,
  { token, ...options }: TokenOptions & { token: string },
): Promise<void> {
  const { id, secret } = parseToken(token);
  const { ttlMs = TOKEN_TTL_MS, description, usages = USAGES, groups = [TOKEN_GROUP] } = options;
  for (const usage of usages) {
    if (!USAGES.includes(usage as typeof USAGES[number])) {
      throw new TypeError(
        `invalid bootstrap token usage string: ${usage}, valid usage options: ${USAGES.join(", ")}`,
      );
    }
  }
  for (const group of groups) {
    if (!GROUP.test(group)) {
      throw new TypeError(
        `bootstrap group ${JSON.stringify(group)} is invalid (must match ${GROUP_PATTERN})`,
      );
    }
  }
  const data: Record<string, string> = { "token-id": id, "token-secret": secret };
  if (description) data.description = description;
  if (ttlMs > 0) data.expiration = formatTime(clock.now() + ttlMs);
  for (const usage of usages) data[`usage-bootstrap-${usage}`] = "true";
  if (groups.length) data["auth-extra-groups"] = groups.join(",");
  await client.create({ resource: SECRETS, namespace: "kube-system" }, {
    metadata: { name: `bootstrap-token-${id}` },
    type: TYPE,
    stringData: data,
  });
}

/** The columns of kubeadm's table; its last two are as wide as they are. */
const HEADINGS = ["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"];

/** All tokens as kubeadm's table; empty where there are none. */
export async function listTokens(client: Client, clock: Pick<Clock, "now">): Promise<string> {
  const list = await client.list<KubeObject>(
    { resource: SECRETS, namespace: "kube-system" },
    { fieldSelector: `type=${TYPE}` },
  );
  if (list.items.length === 0) return "";
  const rows = list.items.map((secret) => rowOf(secret, clock.now()));
  // kubeadm sets each row for itself
  return tabular([HEADINGS, rows[0]]) + rows.slice(1).map((row) => tabular([row])).join("");
}

function rowOf(secret: DeepReadonly<KubeObject>, now: number): string[] {
  const data = (key: string) => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
  const expiration = data("expiration");
  const left = (parseTime(expiration) ?? 0) - now;
  const usages = USAGES.filter((usage) => data(`usage-bootstrap-${usage}`) === "true").sort();
  return [
    `${data("token-id")}.${data("token-secret")}`,
    (expiration ? shortHumanDuration(left) : "<forever>").padEnd(9),
    expiration || "<never>",
    (usages.join(",") || "<none>").padEnd(22),
    (data("description") || "<none>").padEnd(56),
    data("auth-extra-groups") || "<none>",
  ];
}

/** Columns as Go's tabwriter sets them for kubeadm: at least ten wide, three spaces between. */
function tabular(rows: readonly string[][]): string {
  const widths = HEADINGS.map((_, i) => Math.max(10, ...rows.map((row) => row[i].length + 3)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => i === row.length - 1 ? cell : cell.padEnd(widths[i])).join("");
  return rows.map(line).join("\n") + "\n";
}

/** Deletes a token by its id or itself; resolves with its id. */
export async function deleteToken(client: Client, text: string): Promise<string> {
  const id = /^([a-z0-9]{6})(\.[a-z0-9]{16})?$/.exec(text)?.[1];
  if (!id) {
    throw new TypeError(
      `given token didn't match pattern ${JSON.stringify(PATTERN)} or ${
        JSON.stringify(ID_PATTERN)
      }`,
    );
  }
  await client.delete({
    resource: SECRETS,
    namespace: "kube-system",
    name: `bootstrap-token-${id}`,
  });
  return id;
}

/** How kubeadm names an authority: the hash of its public key. One for each certificate of a bundle (PEM). */
export function authorityHashes(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    const key = new X509Certificate(block).publicKey.export({ type: "spki", format: "der" });
    return `sha256:${createHash("sha256").update(key).digest("hex")}`;
  });
}
