/** Label selectors as objects have them, written as a query takes them. */

interface Requirement {
  key: string;
  operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  values?: readonly string[];
}

const WRITTEN: Readonly<Record<Requirement["operator"], (one: Requirement) => string>> = {
  In: ({ key, values = [] }) => `${key} in (${values.join(",")})`,
  NotIn: ({ key, values = [] }) => `${key} notin (${values.join(",")})`,
  Exists: ({ key }) => key,
  DoesNotExist: ({ key }) => `!${key}`,
};

/** The selector of a workload, a Service or a replication controller; undefined: it selects nothing. */
export function selectorText(object: any): string | undefined {
  const selector = object.spec?.selector;
  if (!selector || typeof selector !== "object") return undefined;
  const plain = !("matchLabels" in selector || "matchExpressions" in selector);
  const labels: Record<string, string> = plain ? selector : selector.matchLabels ?? {};
  const parts = [
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
    ...(plain ? [] : selector.matchExpressions ?? []).map((one: Requirement) =>
      WRITTEN[one.operator](one)
    ),
  ];
  return parts.length ? parts.join(",") : undefined;
}
