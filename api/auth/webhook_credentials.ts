/**
 * Who the API server is to the webhooks it calls: the users of a kubeconfig, each named after the servers it is for
 * (upstream: apiserver/pkg/util/webhook/authentication.go). `*` alone or before a dot stands for anything.
 */
import type { Endpoint } from "../client/outbound.ts";

/** What is said of us to one server, or to several. */
export type WebhookUser = Pick<Endpoint, "bearerToken" | "certificate">;

/** Users by the servers they are for: `hooks.example.com:8443`, `*.example.com`, `web.default.svc`, `*`. */
export type WebhookUsers = Readonly<Record<string, WebhookUser>>;

const HTTPS_PORT = ":443";

/** An endpoint with the credentials of the user that is for it. */
export function withCredentials(endpoint: Endpoint, users: WebhookUsers): Endpoint {
  const user = userFor(serverOf(endpoint), users);
  return user ? { ...endpoint, ...user } : endpoint;
}

/** Host and port. */
function serverOf({ service, url = "" }: Endpoint): string {
  if (service) return `${service.name}.${service.namespace}.svc:${service.port ?? 443}`;
  const { host, port } = new URL(url);
  return port ? host : host + HTTPS_PORT;
}

function userFor(server: string, users: WebhookUsers): WebhookUser | undefined {
  const found = named(server, users);
  if (found) return found;
  if (server.endsWith(HTTPS_PORT)) {
    const plain = named(server.slice(0, -HTTPS_PORT.length), users);
    if (plain) return plain;
  }
  return users["*"];
}

/** The user of the name itself, else of the closest name that begins with a star. */
function named(server: string, users: WebhookUsers): WebhookUser | undefined {
  if (Object.hasOwn(users, server)) return users[server];
  const steps = server.split(".");
  for (let i = 1; i < steps.length; i++) {
    const name = `*.${steps.slice(i).join(".")}`;
    if (Object.hasOwn(users, name)) return users[name];
  }
  return undefined;
}
