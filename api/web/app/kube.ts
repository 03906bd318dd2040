/** The API server, asked with the user's own credentials. */
import { failureOf, httpClient, pathOf } from "../../client/http.ts";
import type { Target } from "../../client/contract.ts";
import { send } from "./browser.ts";
import { ofRevision } from "./edit_text.ts";
import { leave, token } from "./session.ts";
import { t } from "./words.ts";

export { pathOf };

/** Who the dashboard's writes are by. */
export const FIELD_MANAGER = "plesio-dashboard";

/** How an answer is to be shown. */
const FORMS = {
  object: "application/json",
  table: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
  metadata: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
} as const;

/** A form of answers. */
export type Form = keyof typeof FORMS;

/** Where the API of a moment lies; undefined: of now. */
function rootAt(moment: string | undefined): string {
  return moment === undefined ? "" : `/plesio/v1/at/${encodeURIComponent(moment)}`;
}

async function transport(request: Request): Promise<Response> {
  const sent = token.value;
  const answer = await send(request).catch((error) => {
    throw request.signal.aborted ? error : new Error(t("server.unreachable"));
  });
  if (answer.status === 401 && sent === token.value) leave("login.expired");
  return answer;
}

function clientOf(form: Form, moment?: string) {
  return httpClient({
    server: location.origin + rootAt(moment),
    token: () => token.value,
    agent: FIELD_MANAGER,
    transport: (request) => {
      request.headers.set("accept", FORMS[form]);
      return transport(request);
    },
  });
}

/** The typed client: objects. */
export const client = clientOf("object");

/** The same, whose lists and watches come as tables or as metadata alone, or are of a moment of the past. */
export function clientFor(form: Form, moment?: string): typeof client {
  if (moment !== undefined) return clientOf(form, moment);
  return clients[form];
}

const clients: Readonly<Record<Form, typeof client>> = {
  object: client,
  table: clientOf("table"),
  metadata: clientOf("metadata"),
};

/** A request of its own. Rejects with ApiError. */
export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("authorization", `Bearer ${token.value}`);
  const answer = await transport(new Request(path, { ...init, headers }));
  if (answer.ok) return answer;
  throw await failureOf(answer);
}

/** JSON of a path. */
export async function askJson<T = any>(path: string, init?: RequestInit): Promise<T> {
  return await (await ask(path, init)).json();
}

/** Text of a path. */
export async function askText(path: string, init?: RequestInit): Promise<string> {
  return await (await ask(path, init)).text();
}

/** An object as YAML, as the server writes it; of a moment, as it was then. */
export function askYaml(target: Target, moment?: string): Promise<string> {
  return askText(rootAt(moment) + pathOf(target), { headers: { accept: "application/yaml" } });
}

/** How a written object is put in the place of what is there. */
export type WriteMode = "apply" | "force" | "replace";

/**
 * Writes YAML and answers what there is then, as YAML. Applying leaves alone what the text does not say; `force` takes
 * fields over from others who manage them; replacing makes the object what the text is.
 */
export function writeYaml(
  target: Target,
  yaml: string,
  { mode = "apply", dryRun = false, revision }: {
    mode?: WriteMode;
    dryRun?: boolean;
    /** What is replaced must still be of it. */
    revision?: string;
  } = {},
): Promise<string> {
  const query = new URLSearchParams({ fieldManager: FIELD_MANAGER, fieldValidation: "Strict" });
  if (dryRun) query.set("dryRun", "All");
  if (mode === "force") query.set("force", "true");
  const replacing = mode === "replace";
  const type = replacing ? "application/yaml" : "application/apply-patch+yaml";
  return askText(`${pathOf(target)}?${query}`, {
    method: replacing ? "PUT" : "PATCH",
    headers: { accept: "application/yaml", "content-type": type },
    body: replacing ? ofRevision(yaml, revision) : yaml,
  });
}

/** What browsers say of an answer that breaks off, each in words of its own. */
const BROKEN_OFF = /network|input stream|load failed/i;

/** The words of a failure. */
export function reasonOf(error: unknown): string {
  if (error instanceof TypeError && BROKEN_OFF.test(error.message)) return t("server.brokenOff");
  return error instanceof Error ? error.message : String(error);
}
