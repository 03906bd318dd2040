/**
 * What a pod or a Service answers, through the API server's proxy: in a tab of its own, where it runs as a page without an
 * origin, or here as text, and drawn in a frame that runs nothing. What a pod says must not be able to act as the person
 * who looks at it.
 */
import { useState } from "preact/hooks";
import { newTab } from "../browser.ts";
import { ask, askJson, pathOf, reasonOf } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { Failure, Field } from "../parts/basics.tsx";
import { t } from "../words.ts";

/** Longest answer that is shown. */
const SHOWN_LENGTH_MAX = 200_000;
const SCHEMES = ["http", "https"] as const;

interface Answer {
  status: string;
  type: string;
  text: string;
}

/** The panel. */
export function ProxyPanel({ kind, object }: PanelProps) {
  const ports = portsOf(object);
  const [port, setPort] = useState(String(ports[0]?.number ?? 80));
  const [chosen, setScheme] = useState<string>();
  const [path, setPath] = useState("/");
  const [answer, setAnswer] = useState<Answer>();
  const [opened, setOpened] = useState<string>();
  const [failure, fail] = useState<string>();
  const { namespace, name } = object.metadata;
  const scheme = chosen ?? schemeOf(ports.find(({ number }) => String(number) === port));
  const target = `${scheme === "https" ? "https:" : ""}${name}:${port}`;
  const base = `${pathOf({ resource: kind, namespace, name: target })}/proxy`;
  const rest = path.replace(/^\//, "");
  const attempt = async (what: () => Promise<void>) => {
    fail(undefined);
    setAnswer(undefined);
    setOpened(undefined);
    await what().catch((error) => fail(reasonOf(error)));
  };
  const send = (event: Event) => {
    event.preventDefault();
    void attempt(async () => {
      const said = await ask(`${base}/${rest}`);
      const type = said.headers.get("content-type") ?? "";
      const text = (await said.text()).slice(0, SHOWN_LENGTH_MAX);
      setAnswer({ status: `${said.status} ${said.statusText}`, type, text });
    });
  };
  const open = () =>
    attempt(async () => {
      const { path: address } = await askJson(`/plesio/v1/tickets${base}`, { method: "POST" });
      setOpened(address + rest);
      newTab(address + rest);
    });
  return (
    <div class="proxy">
      <Place {...{ ports, scheme, port, path, setScheme, setPort, setPath, send, open }} />
      <p class="quiet">{t("proxy.how")}</p>
      {opened && (
        <p role="status">
          <a href={opened} target="_blank" rel="noopener noreferrer">{t("proxy.opened")}</a>
        </p>
      )}
      {failure && <Failure text={failure} />}
      {answer && <Shown {...answer} />}
    </div>
  );
}

/** Where one goes, and how. */
function Place(
  { ports, scheme, port, path, setScheme, setPort, setPath, send, open }: {
    ports: readonly Port[];
    scheme: string;
    port: string;
    path: string;
    setScheme: (scheme: string) => void;
    setPort: (port: string) => void;
    setPath: (path: string) => void;
    send: (event: Event) => void;
    open: () => void;
  },
) {
  return (
    <form class="filters" onSubmit={send}>
      <Field name={t("proxy.scheme")}>
        <select value={scheme} onChange={(event) => setScheme(event.currentTarget.value)}>
          {SCHEMES.map((one) => <option key={one}>{one}</option>)}
        </select>
      </Field>
      <Field name={t("proxy.port")}>
        <input
          required
          list="ports"
          value={port}
          onInput={(event) => setPort(event.currentTarget.value)}
        />
        <datalist id="ports">
          {ports.map(({ number }) => <option key={number} value={number} />)}
        </datalist>
      </Field>
      <Field name={t("proxy.path")}>
        <input value={path} onInput={(event) => setPath(event.currentTarget.value)} />
      </Field>
      <button type="button" class="primary" onClick={open}>{t("proxy.open")}</button>
      <button type="submit">GET</button>
    </form>
  );
}

function Shown({ status, type, text }: Answer) {
  return (
    <>
      <p role="status">{status} · {type}</p>
      {type.startsWith("text/html") && <iframe title={t("proxy.drawn")} sandbox="" srcDoc={text} />}
      <pre tabIndex={0} aria-label={t("proxy.answer")}>{text}</pre>
    </>
  );
}

interface Port {
  number: number;
  name?: string;
}

function portsOf({ spec }: any): Port[] {
  if (spec.ports) return spec.ports.map(({ port, name }: any) => ({ number: port, name }));
  return (spec.containers ?? []).flatMap(({ ports = [] }: any) =>
    ports.map(({ containerPort, name }: any) => ({ number: containerPort, name }))
  );
}

/** What a port speaks, by its name or the number that one knows it by. */
function schemeOf(port: Port | undefined): typeof SCHEMES[number] {
  const secure = port?.name?.startsWith("https") || port?.number === 443 || port?.number === 8443;
  return secure ? "https" : "http";
}
