/** Where one logs in: by the link that the server printed, a token, or a kubeconfig that holds one. */
import { useState } from "preact/hooks";
import { Failure, Field } from "./parts/basics.tsx";
import { enter, refusal, tokenIn } from "./session.ts";
import { LookAndLanguage } from "./shell.tsx";
import { t } from "./words.ts";

/** The page. */
export function LoginPage() {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState(false);
  const submit = (event: Event) => {
    event.preventDefault();
    const found = tokenIn(text);
    setWrong(!found);
    if (found) enter(found);
  };
  return (
    <>
      <header class="top">
        <span class="brand">Plesio</span>
        <span class="user" />
        <LookAndLanguage />
      </header>
      <main class="login" id="main">
        <h1>{t("login")}</h1>
        {refusal.value && <Failure text={t(refusal.value)} />}
        {wrong && <Failure text={t("login.noToken")} />}
        <p>{t("login.how")}</p>
        <pre tabIndex={0}>deno task dashboard</pre>
        <form onSubmit={submit}>
          <Field name={t("login.token")} hint={t("login.hint")}>
            <textarea
              rows={5}
              autocomplete="off"
              spellcheck={false}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </Field>
          <button type="submit" class="primary">{t("login.enter")}</button>
        </form>
      </main>
    </>
  );
}
