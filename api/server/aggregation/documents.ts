/**
 * OpenAPI of extension servers: where the document of the third version lies, or one made of the second where a
 * server has only that; and the part of the second that belongs to its group-version, to be merged with ours.
 */
import { createHash } from "node:crypto";
import type { Outbound } from "../../client/outbound.ts";
import { convertToV3, type SwaggerDocument, swaggerOf } from "../../machinery/openapi_merge.ts";
import { jsonBytes } from "../codec.ts";
import { AGGREGATOR } from "./availability.ts";
import { type Remote, remoteHeaders } from "./remote.ts";

/** Longest wait for a document, in ms. */
export const DOCUMENT_TIMEOUT_MS = 60_000;
/** Largest document that is read. */
export const DOCUMENT_BYTES_MAX = 16 * 1024 * 1024;

/** What is known of a remote's documents. */
export interface RemoteDocument {
  /** Changes with the documents. */
  hash: string;
  /** Where it serves the third version itself. */
  url?: string;
  /** Made from the second, where it does not. */
  v3?: Uint8Array;
  /** Its part of the second. */
  v2?: SwaggerDocument;
  /** ETag of the second. */
  etag?: string;
}

/** Asks a remote for its documents. What was known stays when that fails. */
export async function learnDocument(
  { outbound }: { outbound: Outbound },
  remote: Remote,
): Promise<void> {
  if (!remote.available) return;
  try {
    const known = remote.document;
    const second = await swagger(outbound, remote, known);
    const url = await thirdUrl(outbound, remote);
    const same = known !== undefined && second === known.v2 && url === known.url;
    if (same) return;
    const v3 = url === undefined && second ? jsonBytes(convertToV3(second)) : undefined;
    const digest = createHash("sha512").update(url ?? "").update(JSON.stringify(second ?? null));
    const hash = digest.digest("hex").toUpperCase();
    remote.document = { hash, url, v3, v2: second, etag: remote.document?.etag };
  } catch {
    // A document that cannot be had now is asked for again with the next look
  }
}

async function ask(outbound: Outbound, remote: Remote, path: string, etag?: string) {
  return await outbound.send(await remote.endpoint(), {
    method: "GET",
    path,
    headers: {
      ...remoteHeaders(AGGREGATOR),
      accept: "application/json",
      ...(etag && { "if-none-match": etag }),
    },
    timeoutMs: DOCUMENT_TIMEOUT_MS,
    bytesMax: DOCUMENT_BYTES_MAX,
  });
}

/** Where the third version lies; undefined: it has none. */
async function thirdUrl(outbound: Outbound, remote: Remote): Promise<string | undefined> {
  const { status, body } = await ask(outbound, remote, "/openapi/v3");
  if (status !== 200) return undefined;
  const { paths } = JSON.parse(new TextDecoder().decode(body));
  const path = `apis/${remote.group}/${remote.version}`;
  const url = paths?.[path]?.serverRelativeURL;
  return typeof url === "string" && url.startsWith(`/openapi/v3/${path}`) ? url : undefined;
}

async function swagger(
  outbound: Outbound,
  remote: Remote,
  known: RemoteDocument | undefined,
): Promise<SwaggerDocument | undefined> {
  const { status, headers, body } = await ask(outbound, remote, "/openapi/v2", known?.etag);
  if (status === 304) return known?.v2;
  if (status !== 200) return undefined;
  const whole = JSON.parse(new TextDecoder().decode(body));
  const found = swaggerOf(whole, `/apis/${remote.group}/${remote.version}/`);
  const etag = headers.etag === undefined ? undefined : String(headers.etag);
  const same = known?.v2 && JSON.stringify(known.v2) === JSON.stringify(found);
  const next = same ? known.v2 : found;
  remote.document = { ...known, hash: known?.hash ?? "", v2: next, etag };
  return next;
}
