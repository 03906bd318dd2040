/** A Deployment, and a Service before it, from a few words. */

/** What somebody fills in. */
export interface WorkloadForm {
  name: string;
  namespace: string;
  image: string;
  replicas: number;
  /** Where the program listens; undefined: no Service. */
  port?: number;
}

/** The objects. */
export function workload({ name, namespace, image, replicas, port }: WorkloadForm): object[] {
  const labels = { app: name };
  const container = { name, image, ...(port && { ports: [{ containerPort: port }] }) };
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name, namespace, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container] } },
    },
  };
  if (!port) return [deployment];
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace, labels },
    spec: { selector: labels, ports: [{ port, targetPort: port }] },
  };
  return [deployment, service];
}
