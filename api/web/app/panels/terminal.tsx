/** A shell, or any command, in a container of a pod. */
import { useState } from "preact/hooks";
import type { PanelProps } from "../panels.ts";
import { Failure, Field } from "../parts/basics.tsx";
import { TerminalView } from "../terminal/view.tsx";
import { t } from "../words.ts";

/** The panel. */
export function TerminalPanel({ object: { metadata, spec } }: PanelProps) {
  const names: string[] = spec.containers.map(({ name }: { name: string }) => name);
  const [container, setContainer] = useState(names[0]);
  const [command, setCommand] = useState("sh");
  const [run, setRun] = useState<{ command: string[]; container: string; count: number }>();
  const [ended, setEnded] = useState<string>();
  const start = (event: Event) => {
    event.preventDefault();
    setEnded(undefined);
    const words = command.trim().split(/\s+/);
    setRun({ command: words, container, count: (run?.count ?? 0) + 1 });
  };
  return (
    <div class="terminal-panel">
      <form class="filters" onSubmit={start}>
        <Field name={t("container")}>
          <select value={container} onChange={(event) => setContainer(event.currentTarget.value)}>
            {names.map((name) => <option key={name} value={name}>{name}</option>)}
          </select>
        </Field>
        <Field name={t("terminal.command")}>
          <input
            required
            value={command}
            spellcheck={false}
            onInput={(event) => setCommand(event.currentTarget.value)}
          />
        </Field>
        <button type="submit" class="primary">
          {t(run && ended === undefined ? "terminal.again" : "terminal.start")}
        </button>
      </form>
      <p class="quiet">{t("terminal.leave")}</p>
      {ended !== undefined &&
        (ended ? <Failure text={ended} /> : <p role="status">{t("terminal.ended")}</p>)}
      {run && (
        <TerminalView
          key={run.count}
          pod={metadata}
          container={run.container}
          command={run.command}
          ended={setEnded}
        />
      )}
    </div>
  );
}
