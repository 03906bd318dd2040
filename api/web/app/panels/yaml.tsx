/**
 * An object as YAML, to be edited: what the server would make of it is asked for by a dry run, shown as a difference, and
 * written only after that.
 */
import { useEffect, useRef, useState } from "preact/hooks";
import { save } from "../browser.ts";
import { editable, revisionIn } from "../edit_text.ts";
import { askYaml, reasonOf, type WriteMode, writeYaml } from "../kube.ts";
import type { PanelProps } from "../panels.ts";
import { announce, Dialog, Failure } from "../parts/basics.tsx";
import { Difference } from "../parts/difference.tsx";
import { at } from "../router.ts";
import { t } from "../words.ts";

const MODES = ["apply", "replace"] as const;

interface Proposal {
  before: string;
  after: string;
  mode: WriteMode;
}

/** The state of an edit, and what can be done with it. */
function useEditing({ kind, object }: PanelProps) {
  const { namespace, name, resourceVersion } = object.metadata;
  const target = { resource: kind, namespace, name };
  const [base, setBase] = useState<string>();
  const [text, setText] = useState<string>();
  const [failure, setFailure] = useState<string>();
  const [proposal, setProposal] = useState<Proposal>();
  const touched = text !== undefined && text !== base;
  const isTouched = useRef(touched);
  isTouched.current = touched;
  // Replacing is of what was read: who changed it since is told of
  const [revision, setRevision] = useState<string>();
  const show = (yaml: string) => {
    const shown = editable(yaml);
    setBase(shown);
    setText(shown);
    setRevision(revisionIn(yaml));
  };
  const fail = (error: unknown) => setFailure(reasonOf(error));
  useEffect(() => {
    let over = false;
    // What somebody is writing is not taken from them, also not by what was asked for before they began
    const take = (yaml: string) => over || isTouched.current || show(yaml);
    if (!touched) askYaml(target, at.value).then(take, (error) => over || fail(error));
    return () => {
      over = true;
    };
  }, [resourceVersion, at.value]);
  const propose = async (mode: WriteMode) => {
    setFailure(undefined);
    try {
      const [after, before] = await Promise.all([
        writeYaml(target, text!, { mode, revision, dryRun: true }),
        askYaml(target),
      ]);
      setProposal({ before: editable(before), after: editable(after), mode });
    } catch (error) {
      fail(error);
    }
  };
  const write = async ({ mode }: Proposal) => {
    setProposal(undefined);
    try {
      show(await writeYaml(target, text!, { mode, revision }));
      announce(t("yaml.applied"));
    } catch (error) {
      fail(error);
    }
  };
  const reset = () => setText(base);
  return { text, setText, touched, failure, proposal, setProposal, propose, write, reset };
}

/** The panel. */
export function YamlPanel(props: PanelProps) {
  const edit = useEditing(props);
  const [mode, setMode] = useState<typeof MODES[number]>("apply");
  const { text, touched, failure, proposal } = edit;
  const conflict = failure?.startsWith("Apply failed with");
  const download = () => save(`${props.object.metadata.name}.yaml`, "application/yaml", text ?? "");
  return (
    <div class="yaml">
      <div class="actions">
        <select
          aria-label={t("yaml.mode")}
          value={mode}
          onChange={(event) => setMode(event.currentTarget.value as typeof mode)}
        >
          {MODES.map((one) => <option key={one} value={one}>{t(`yaml.mode.${one}`)}</option>)}
        </select>
        <button
          type="button"
          class="primary"
          disabled={!touched}
          onClick={() => edit.propose(mode)}
        >
          {t("yaml.review")}
        </button>
        {conflict && (
          <button type="button" onClick={() => edit.propose("force")}>{t("yaml.force")}</button>
        )}
        <button type="button" disabled={!touched} onClick={edit.reset}>{t("reset")}</button>
        <button type="button" onClick={download}>{t("download")}</button>
      </div>
      {failure && <Failure text={failure} />}
      <textarea
        class="code"
        aria-label={t("panel.yaml")}
        spellcheck={false}
        disabled={text === undefined}
        readOnly={at.value !== undefined}
        value={text ?? ""}
        onInput={(event) => edit.setText(event.currentTarget.value)}
      />
      {proposal && (
        <Review
          proposal={proposal}
          write={() => edit.write(proposal)}
          close={() => edit.setProposal(undefined)}
        />
      )}
    </div>
  );
}

function Review(
  { proposal, write, close }: { proposal: Proposal; write: () => void; close: () => void },
) {
  return (
    <Dialog title={t("yaml.difference")} wide close={close}>
      <Difference before={proposal.before} after={proposal.after} />
      <div class="actions">
        <button type="button" class="primary" onClick={write}>{t("apply")}</button>
        <button type="button" onClick={close}>{t("cancel")}</button>
      </div>
    </Dialog>
  );
}
