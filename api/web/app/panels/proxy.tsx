/**
 * What a pod or a Service answers, through the API server's proxy. The answer is shown as text, or drawn in a frame that has
 * no origin and runs nothing: what a pod says must not be able to act as the person who looks at it.
 */
import { useState } from "preact/hooks";
import { ask, pathOf, reasonOf } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { Failure, Field } from "../parts/basics.tsx";
import { t } from "../words.ts";

/** Longest answer that is shown. */
const SHOWN_LENGTH_MAX = 200_000;

interface Answer {
  status: string;
  type: string;
  text: string;
}

/** The panel. */
export function ProxyPanel({ kind, object }: PanelProps) {
  const ports = portsOf(object);
  const [port, setPort] = useState(String(ports[0] ?? 80));
  const [path, setPath] = useState("/");
  const [answer, setAnswer] = useState<Answer>();
  const [failure, fail] = useState<string>();
  const { namespace, name } = object.metadata;
  const base = `${pathOf({ resource: kind, namespace, name: `${name}:${port}` })}/proxy`;
  const url = `${base.replace("%3A", ":")}/${path.replace(/^\//, "")}`;
  const send = async (event: Event) => {
    event.preventDefault();
    fail(undefined);
    setAnswer(undefined);
    try {
      const said = await ask(url);
      const type = said.headers.get("content-type") ?? "";
      const text = (await said.text()).slice(0, SHOWN_LENGTH_MAX);
      setAnswer({ status: `${said.status} ${said.statusText}`, type, text });
    } catch (error) {
      fail(reasonOf(error));
    }
  };
  return (
    <div class="proxy">
      <form class="filters" onSubmit={send}>
        <Field name={t("proxy.port")}>
          <input
            required
            list="ports"
            value={port}
            onInput={(event) => setPort(event.currentTarget.value)}
          />
          <datalist id="ports">{ports.map((one) => <option key={one} value={one} />)}</datalist>
        </Field>
        <Field name={t("proxy.path")}>
          <input value={path} onInput={(event) => setPath(event.currentTarget.value)} />
        </Field>
        <button type="submit" class="primary">GET</button>
      </form>
      <p class="quiet">
        <a href={url} target="_blank" rel="noopener noreferrer">{url}</a> {t("proxy.link")}
      </p>
      {failure && <Failure text={failure} />}
      {answer && (
        <>
          <p role="status">{answer.status} · {answer.type}</p>
          {answer.type.startsWith("text/html") && (
            <iframe title={t("proxy.drawn")} sandbox="" srcDoc={answer.text} />
          )}
          <pre tabIndex={0} aria-label={t("proxy.answer")}>{answer.text}</pre>
        </>
      )}
    </div>
  );
}

function portsOf({ spec }: any): number[] {
  if (spec.ports) return spec.ports.map(({ port }: any) => port);
  return (spec.containers ?? []).flatMap(({ ports = [] }: any) =>
    ports.map(({ containerPort }: any) => containerPort)
  );
}
