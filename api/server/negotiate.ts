/**
 * Which representation an answer has and which one a body came in (upstream: handlers/negotiation). Accept
 * headers repeat without end, so that what they mean is remembered.
 */
import { notAcceptable } from "../machinery/errors.ts";
import { ApiError } from "../machinery/types.ts";

/** How bytes are laid out. */
export type Media = "json" | "yaml" | "protobuf";

/** A transformation that was asked for instead of the object itself. */
export type As = "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList";

/** What to answer with. */
export interface Representation {
  media: Media;
  as?: As;
  /** Version of meta.k8s.io of Table and PartialObjectMetadata. */
  metaVersion: "v1" | "v1beta1";
  pretty?: boolean;
}

/** What an endpoint can offer. */
export interface Offer {
  /** Custom resources know no protobuf. */
  protobuf: boolean;
  /** Transformations, in effect those of objects and lists. */
  table: boolean;
  partial: boolean;
  list: boolean;
  /** Events, which have no form in YAML. */
  watch?: boolean;
}

interface Clause {
  type: string;
  quality: number;
  params: Map<string, string>;
}

export const JSON_TYPE = "application/json";
export const YAML_TYPE = "application/yaml";
export const PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf";

/** What 406 lists. */
const ACCEPTED = [JSON_TYPE, YAML_TYPE, PROTOBUF_TYPE];
/** What a watch can be sent as. */
const STREAMED = [`${JSON_TYPE};stream=watch`, `${PROTOBUF_TYPE};stream=watch`];
/** Accept headers remembered at once. */
const REMEMBERED_MAX = 256;

const JSON_REPRESENTATION: Representation = { media: "json", metaVersion: "v1" };
const parsed = new Map<string, readonly Clause[]>();

/** An Accept header's clauses, best first. */
export function clausesOf(accept: string): readonly Clause[] {
  const known = parsed.get(accept);
  if (known) return known;
  const clauses: Clause[] = [];
  for (const part of accept.split(",")) {
    const [type, ...rest] = part.split(";").map((s) => s.trim());
    if (!type) continue;
    const params = new Map<string, string>();
    for (const item of rest) {
      const at = item.indexOf("=");
      if (at > 0) params.set(item.slice(0, at).trim().toLowerCase(), item.slice(at + 1).trim());
    }
    const quality = params.has("q") ? Number(params.get("q")) : 1;
    params.delete("q");
    clauses.push({ type: type.toLowerCase(), quality: quality >= 0 ? quality : 0, params });
  }
  clauses.sort((a, b) => b.quality - a.quality);
  if (parsed.size >= REMEMBERED_MAX) parsed.clear();
  parsed.set(accept, clauses);
  return clauses;
}

/** `metadata`: it alone is wanted, which has one form whatever the kind. */
function mediaOf(
  type: string,
  { protobuf, watch }: Offer,
  metadata: boolean | undefined,
): Media | undefined {
  switch (type) {
    case "*/*":
    case "application/*":
    case JSON_TYPE:
      return "json";
    case YAML_TYPE:
      return watch ? undefined : "yaml";
    case PROTOBUF_TYPE:
      return protobuf || metadata ? "protobuf" : undefined;
    default:
      return undefined;
  }
}

/** Chooses a representation; throws 406 when nothing that is accepted can be made. */
export function negotiate(accept: string | undefined, offer: Offer): Representation {
  if (!accept || accept === JSON_TYPE || accept === "*/*") return JSON_REPRESENTATION;
  for (const { type, params, quality } of clausesOf(accept)) {
    if (quality === 0) continue;
    const as = params.get("as");
    const media = mediaOf(type, offer, as?.startsWith("Partial"));
    if (!media || (as === "Table" && media === "protobuf")) continue;
    const pretty = params.get("pretty") === "1" || undefined;
    if (as === undefined) return { media, metaVersion: "v1", pretty };
    const version = params.get("v");
    if (params.get("g") !== "meta.k8s.io" || (version !== "v1" && version !== "v1beta1")) continue;
    if (as === "Table" && offer.table) return { media, as, metaVersion: version, pretty };
    if (as === "PartialObjectMetadata" && offer.partial && !offer.list) {
      return { media, as, metaVersion: version, pretty };
    }
    if (as === "PartialObjectMetadataList" && offer.partial && offer.list) {
      return { media, as, metaVersion: version, pretty };
    }
  }
  throw refusalOf(clausesOf(accept), offer);
}

/** 406: of built-in kinds it is the router that refuses a type it has never heard of. */
function refusalOf(clauses: readonly Clause[], { protobuf, list, watch }: Offer): ApiError {
  const known = clauses.some(({ type }) => ACCEPTED.includes(type));
  if (known || !protobuf) return notAcceptable(watch ? STREAMED : ACCEPTED);
  const types = list || watch ? [...ACCEPTED, ...STREAMED] : ACCEPTED;
  return new ApiError({
    code: 406,
    reason: "NotAcceptable",
    message: `406: Not Acceptable\n\nAvailable representations: ${types.join(", ")}`,
    details: {},
  });
}

/** The media of a body; undefined for one that is unknown (415). */
export function bodyMedia(contentType: string | undefined): Media | undefined {
  if (!contentType) return "json";
  const end = contentType.indexOf(";");
  const type = (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  switch (type) {
    case "":
    case "*/*":
    case JSON_TYPE:
      return "json";
    case YAML_TYPE:
    case "application/x-yaml":
    case "text/yaml":
    case "text/x-yaml":
      return "yaml";
    case PROTOBUF_TYPE:
      return "protobuf";
    default:
      return undefined;
  }
}

/** The content type of a representation. */
export function contentTypeOf(representation: Representation, watch = false): string {
  switch (representation.media) {
    case "json":
      return JSON_TYPE;
    case "yaml":
      return YAML_TYPE;
    case "protobuf":
      return watch ? `${PROTOBUF_TYPE};stream=watch` : PROTOBUF_TYPE;
  }
}
