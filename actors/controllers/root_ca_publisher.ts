/**
 * Every active namespace has the ConfigMap `kube-root-ca.crt`, with which its pods verify the API server.
 *
 * Behaviour matched: pkg/controller/certificates/rootcacertpublisher, v1.36.
 */
import type { KubeObject } from "../../api/machinery/types.ts";
import {
  type ActorContext,
  codeOf,
  CONFIG_MAPS,
  type Controller,
  every,
  isNamespaceGoing,
  NAMESPACES,
  targetOf,
} from "../runtime/mod.ts";
import { sameJson } from "../../api/machinery/json_value.ts";
import type { ControllerPorts } from "./ports.ts";

export const ROOT_CA_NAME = "kube-root-ca.crt";
const DESCRIPTION = "kubernetes.io/description";
const DESCRIPTION_TEXT =
  "Contains a CA bundle that can be used to verify the kube-apiserver when " +
  "using internal endpoints such as the internal service IP or kubernetes.default.svc. No other " +
  "usage is guaranteed across distributions of Kubernetes clusters.";

/** How often all of them are looked at: the authority may be another one. */
const AGAIN_MS = 3600 * 1000;
/** Stands for every namespace. */
const ALL = "*";

/** The row; the certificate comes from the ports. */
export function rootCaPublisher({ rootCa }: Pick<ControllerPorts, "rootCa">): Controller<void> {
  return {
    name: "root-ca-certificate-publisher",
    account: "root-ca-cert-publisher",
    for: NAMESPACES,
    workers: 1,
    watches: [{
      resource: CONFIG_MAPS,
      keys: ({ metadata }) => metadata.name === ROOT_CA_NAME ? [metadata.namespace!] : [],
    }],
    start: (context) => every(context, AGAIN_MS, ALL),
    reconcile: async (key, context) => {
      if (key !== ALL) return await reconcile(key, context, rootCa);
      for (const { metadata } of context.informers.for(NAMESPACES).list()) {
        context.send(context.address, metadata.name);
      }
    },
  };
}

/** Makes or mends one namespace's ConfigMap. */
export async function reconcile(
  key: string,
  context: ActorContext,
  rootCa: ControllerPorts["rootCa"],
): Promise<void> {
  const namespace = context.informers.for(NAMESPACES).get(key);
  if (!namespace || namespace.status?.phase === "Terminating") return;
  const data = { "ca.crt": await rootCa() };
  const present = context.informers.for(CONFIG_MAPS).get(`${key}/${ROOT_CA_NAME}`);
  if (present) {
    const described = present.metadata.annotations?.[DESCRIPTION];
    if (sameJson(present.data, data) && described) return;
    const annotations = { ...present.metadata.annotations, [DESCRIPTION]: DESCRIPTION_TEXT };
    const metadata = { ...present.metadata, annotations };
    await context.client.update<KubeObject>(targetOf(CONFIG_MAPS, present), {
      ...present,
      metadata,
      data,
    });
    return;
  }
  try {
    await context.client.create({ resource: CONFIG_MAPS, namespace: key }, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        name: ROOT_CA_NAME,
        namespace: key,
        annotations: { [DESCRIPTION]: DESCRIPTION_TEXT },
      },
      data,
    });
  } catch (error) {
    if (codeOf(error) !== 409 && codeOf(error) !== 404 && !isNamespaceGoing(error)) throw error;
  }
}
