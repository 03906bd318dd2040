/** The buttons of an object's actions, and the dialogs that some of them ask in. */
import { useState } from "preact/hooks";
import { type Action, ACTIONS, type Subject } from "./actions.ts";
import { reasonOf } from "./kube.ts";
import { announce, Dialog, Field } from "./parts/basics.tsx";
import { t } from "./words.ts";

/** The bar. */
export function ActionBar(subject: Subject) {
  const [asked, ask] = useState<Action>();
  const run = async (action: Action, amount = 0) => {
    ask(undefined);
    try {
      await action.run(subject, amount);
      announce(t("action.done", { action: t(action.title), name: subject.object.metadata.name }));
    } catch (error) {
      announce(reasonOf(error), true);
    }
  };
  return (
    <>
      {ACTIONS.filter((action) => action.when(subject)).map((action) => (
        <button
          key={action.id}
          type="button"
          class={action.danger ? "danger" : ""}
          onClick={() => action.confirm || action.amount ? ask(action) : run(action)}
        >
          {t(action.title)}
        </button>
      ))}
      {asked && <Asking action={asked} subject={subject} run={run} close={() => ask(undefined)} />}
    </>
  );
}

function Asking(
  { action, subject, run, close }: {
    action: Action;
    subject: Subject;
    run: (action: Action, amount: number) => void;
    close: () => void;
  },
) {
  const [amount, setAmount] = useState(action.amount?.(subject) ?? 0);
  const submit = (event: Event) => {
    event.preventDefault();
    run(action, amount);
  };
  return (
    <Dialog title={t(action.title)} close={close}>
      <form onSubmit={submit}>
        {action.confirm && <p>{t(action.confirm, { name: subject.object.metadata.name })}</p>}
        {action.amount && (
          <Field name={t("replicas")}>
            <input
              type="number"
              min={0}
              max={10_000}
              value={amount}
              onInput={(event) => setAmount(event.currentTarget.valueAsNumber)}
            />
          </Field>
        )}
        <div class="actions">
          <button type="submit" class={action.danger ? "danger" : "primary"}>
            {t(action.title)}
          </button>
          <button type="button" onClick={close}>{t("cancel")}</button>
        </div>
      </form>
    </Dialog>
  );
}
