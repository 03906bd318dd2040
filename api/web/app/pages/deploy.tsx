/** Something new: a workload by a short form, or any objects as YAML. Both are created by server-side apply. */
import { useState } from "preact/hooks";
import { type Applied, applyDocuments } from "../apply.ts";
import { reasonOf } from "../kube.ts";
import { namespace } from "../namespaces.tsx";
import { Card, Failure, Field, Head } from "../parts/basics.tsx";
import { objectHref } from "../router.ts";
import { printYaml } from "../yaml.ts";
import { workload, type WorkloadForm } from "../workload.ts";
import { t } from "../words.ts";

/** The page. */
export function DeployPage() {
  const [yaml, setYaml] = useState("");
  const [results, setResults] = useState<readonly Applied[]>([]);
  const [failure, setFailure] = useState<string>();
  const [busy, setBusy] = useState(false);
  const apply = async (dryRun: boolean) => {
    setBusy(true);
    setFailure(undefined);
    try {
      setResults(await applyDocuments(yaml, { dryRun, namespace: namespace.value || "default" }));
    } catch (error) {
      setResults([]);
      setFailure(reasonOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <Head title={t("deploy")} />
      <div class="cards">
        <Card title={t("deploy.form")}>
          <WorkloadFields use={(form) => setYaml(workload(form).map(printYaml).join("---\n"))} />
        </Card>
        <Card title="YAML">
          <textarea
            class="code"
            aria-label="YAML"
            placeholder={t("deploy.paste")}
            spellcheck={false}
            value={yaml}
            onInput={(event) => setYaml(event.currentTarget.value)}
          />
          <div class="actions">
            <button
              type="button"
              class="primary"
              disabled={!yaml.trim() || busy}
              onClick={() => apply(false)}
            >
              {t("create")}
            </button>
            <button type="button" disabled={!yaml.trim() || busy} onClick={() => apply(true)}>
              {t("dryRun")}
            </button>
          </div>
          {failure && <Failure text={failure} />}
          <Results results={results} />
        </Card>
      </div>
    </>
  );
}

function Results({ results }: { results: readonly Applied[] }) {
  return (
    <ul class="results" aria-live="polite">
      {results.map(({ kind, name, namespace, failure, dryRun }) => (
        <li key={`${kind?.kind} ${namespace} ${name}`} class={failure ? "bad" : ""}>
          {kind?.kind} {failure || !kind || dryRun
            ? name
            : <a href={objectHref(kind, { namespace, name })}>{name}</a>}
          {": "}
          {failure ?? t(dryRun ? "deploy.wouldBe" : "deploy.created")}
        </li>
      ))}
    </ul>
  );
}

const FIELDS = [
  { name: "name", title: "name", type: "text", pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?" },
  { name: "image", title: "image", type: "text" },
  { name: "replicas", title: "replicas", type: "number" },
  { name: "port", title: "deploy.port", type: "number", optional: true },
] as const;

function WorkloadFields({ use }: { use: (form: WorkloadForm) => void }) {
  const [form, setForm] = useState<Record<string, string>>({ replicas: "2" });
  const submit = (event: Event) => {
    event.preventDefault();
    const { name, image, replicas, port } = form;
    use({
      name,
      image,
      replicas: Number(replicas),
      port: port ? Number(port) : undefined,
      namespace: namespace.value || "default",
    });
  };
  return (
    <form onSubmit={submit}>
      {FIELDS.map(({ name, title, type, ...more }) => (
        <Field key={name} name={t(title)}>
          <input
            {...(type === "number" ? { type, min: 0 } : { type })}
            name={name}
            required={!("optional" in more)}
            pattern={"pattern" in more ? more.pattern : undefined}
            value={form[name] ?? ""}
            onInput={(event) => setForm({ ...form, [name]: event.currentTarget.value })}
          />
        </Field>
      ))}
      <button type="submit">{t("deploy.write")}</button>
    </form>
  );
}
