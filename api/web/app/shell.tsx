/** What surrounds every page: navigation, language, theme, who one is. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { every, liked } from "./browser.ts";
import { discover, kinds, listable } from "./discovery.ts";
import { askJson, reasonOf } from "./kube.ts";
import { PAGES } from "./pages.ts";
import { announce, Announcements } from "./parts/basics.tsx";
import { TimeBar, TimeButton } from "./time_bar.tsx";
import { groupOf, groupSegment, href, listHref, place } from "./router.ts";
import { sectionsOf } from "./sections.ts";
import { leave, token } from "./session.ts";
import { LANGUAGE_NAMES, LANGUAGES } from "./texts.ts";
import { language, speak, t } from "./words.ts";

/** Kinds come and go with CRDs. */
const DISCOVER_EVERY_MS = 20_000;

const THEMES = ["auto", "light", "dark"] as const;
type Theme = typeof THEMES[number];
const theme = signal<Theme>(THEMES.find((one) => one === liked.getItem("theme")) ?? "auto");
const menu = signal(false);
const user = signal("");

function setTheme(next: Theme): void {
  theme.value = next;
  liked.setItem("theme", next);
}

/** The page that the address names, in its surroundings. */
export function Shell() {
  useEffect(() => {
    const again = () => void discover().catch((error) => announce(reasonOf(error), true));
    again();
    void whoAmI();
    return every(DISCOVER_EVERY_MS, again);
  }, [token.value]);
  const { path, query } = place.value;
  const page = PAGES.find(({ id }) => id === path[0]) ?? PAGES[0];
  useEffect(() => {
    menu.value = false;
  }, [place.value]);
  const View = page.view;
  return (
    <>
      <a class="skip" href="#title" onClick={skip}>{t("skip")}</a>
      <TopBar />
      <TimeBar />
      <div class={`body ${menu.value ? "menu-open" : ""}`}>
        <Navigation />
        <main id="main">
          {kinds.value || page.hidden !== true ? <View rest={path.slice(1)} query={query} /> : null}
        </main>
      </div>
      <Announcements />
    </>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("title")?.focus();
}

async function whoAmI(): Promise<void> {
  const review = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const said = await askJson("/apis/authentication.k8s.io/v1/selfsubjectreviews", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(review),
  }).catch(() => undefined);
  user.value = said?.status?.userInfo?.username ?? "";
}

function TopBar() {
  return (
    <header class="top with-menu">
      <button
        type="button"
        class="menu plain"
        aria-expanded={menu.value}
        aria-controls="navigation"
        onClick={() => menu.value = !menu.value}
      >
        {t("menu")}
      </button>
      <a class="brand" href="#/">Plesio</a>
      <span class="user" title={user.value}>{user.value}</span>
      <TimeButton />
      <LookAndLanguage />
      <button type="button" class="plain" onClick={() => leave()}>{t("logout")}</button>
    </header>
  );
}

/** Choice of theme and language; also where one logs in. */
export function LookAndLanguage() {
  useEffect(() => {
    document.documentElement.dataset.theme = theme.value;
    document.documentElement.lang = language.value;
  }, [theme.value, language.value]);
  return (
    <>
      <select
        aria-label={t("theme")}
        value={theme.value}
        onChange={(event) => setTheme(event.currentTarget.value as Theme)}
      >
        {THEMES.map((one) => <option key={one} value={one}>{t(`theme.${one}`)}</option>)}
      </select>
      <select
        aria-label={t("language")}
        value={language.value}
        onChange={(event) => speak(event.currentTarget.value as typeof LANGUAGES[number])}
      >
        {LANGUAGES.map((one) => (
          <option key={one} value={one} lang={one}>{LANGUAGE_NAMES[one]}</option>
        ))}
      </select>
    </>
  );
}

function Navigation() {
  const { path } = place.value;
  const here = path[0] ?? PAGES[0].id;
  return (
    <nav id="navigation" class="side" aria-label={t("navigation")}>
      <div class="look">
        <LookAndLanguage />
      </div>
      <ul>
        {PAGES.filter(({ hidden }) => !hidden).map(({ id, title }) => (
          <li key={id}>
            <a href={href([id], { at: undefined })} aria-current={id === here ? "page" : undefined}>
              {t(title)}
            </a>
          </li>
        ))}
      </ul>
      {sectionsOf(listable.value).map(({ title, group, kinds }, i) => (
        <details key={title ?? group} open={i < 5 || kinds.some(isHere)}>
          <summary>{title ? t(title) : group || t("section.core")}</summary>
          <ul>
            {kinds.map((kind) => (
              <li key={kind.plural}>
                <a href={listHref(kind)} aria-current={isHere(kind) ? "page" : undefined}>
                  {kind.kind}
                </a>
              </li>
            ))}
          </ul>
        </details>
      ))}
    </nav>
  );
}

function isHere({ group, plural }: { group: string; plural: string }): boolean {
  const [page, segment, found] = place.value.path;
  return (page === "list" || page === "object") && segment === groupSegment(group) &&
    groupOf(segment) === group && found === plural;
}
