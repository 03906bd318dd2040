/**
 * The time slider: any revision that history still has, for tables and objects' pages. The moment stands in the address
 * (`at`), so that a link leads to it; what is of the past is marked, and nothing can be changed there.
 */
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { TimeSpan } from "../../client/plesio.ts";
import { every, later, now } from "./browser.ts";
import { askJson, reasonOf } from "./kube.ts";
import { announce } from "./parts/basics.tsx";
import { at, changed, go, href } from "./router.ts";
import { moment, t } from "./words.ts";

/** How far back one can go. */
export const timeSpan = signal<TimeSpan | undefined>(undefined);

const open = signal(false);

/** The time that it is where one is: now, or that of the moment. Ages are told by it. */
export function timeHere(): number {
  const then = at.value === undefined ? undefined : timeSpan.value?.at?.time;
  return then === undefined ? now() : Date.parse(then);
}

/** The newest revision moves on. */
const ASK_EVERY_MS = 2_000;
/** While the slider is dragged, pages follow at most so often. */
const REST_MS = 120;

async function look(moment: string | undefined, signal: AbortSignal): Promise<void> {
  const query = moment === undefined ? "" : `?${new URLSearchParams({ at: moment })}`;
  timeSpan.value = await askJson(`/plesio/v1/time${query}`, { signal });
}

/** Opens and closes the slider. */
export function TimeButton() {
  const shown = open.value || at.value !== undefined;
  return (
    <button
      type="button"
      class="plain"
      aria-expanded={shown}
      aria-controls="time"
      onClick={() => {
        open.value = !shown;
        if (shown) go(changed({ at: undefined }), { replace: true });
      }}
    >
      {t("time")}
    </button>
  );
}

/** The slider, and below it where one is. */
export function TimeBar() {
  const chosen = at.value;
  const shown = open.value || chosen !== undefined;
  useEffect(() => {
    const stop = new AbortController();
    const ask = () =>
      void look(chosen, stop.signal).catch((error) =>
        shown && !stop.signal.aborted && announce(reasonOf(error), true)
      );
    ask();
    const end = shown ? every(ASK_EVERY_MS, ask) : undefined;
    return () => {
      stop.abort();
      end?.();
    };
  }, [shown, chosen]);
  if (!shown) return null;
  return (
    <section id="time" class={chosen ? "time past" : "time"} aria-label={t("time")}>
      {timeSpan.value && <Slider {...timeSpan.value} chosen={chosen} />}
    </section>
  );
}

function Slider(
  { oldest, newest, at: known, chosen }: TimeSpan & { chosen: string | undefined },
) {
  const [dragged, drag] = useState<number>();
  const settled = chosen === undefined
    ? newest.revision
    : known?.revision ?? (Number(chosen) || newest.revision);
  const value = dragged ?? settled;
  useEffect(() => {
    if (dragged === undefined) return;
    return later(REST_MS, () => {
      drag(undefined);
      goTo(dragged, newest.revision);
    });
  }, [dragged]);
  const step = (by: number) => () => goTo(settled + by, newest.revision);
  const isNow = dragged === undefined && chosen === undefined;
  const time = known && known.revision === value ? known.time : undefined;
  const text = isNow
    ? t("time.now", { revision: newest.revision })
    : t("time.then", { revision: value, time: time ? moment(time) : "…" });
  return (
    <>
      <div class="time-slider">
        <button
          type="button"
          aria-label={t("time.back")}
          disabled={settled <= oldest.revision}
          onClick={step(-1)}
        >
          ◀
        </button>
        <input
          type="range"
          aria-label={t("time.slider")}
          aria-valuetext={text}
          min={oldest.revision}
          max={newest.revision}
          value={value}
          onInput={(event) => drag(Number(event.currentTarget.value))}
        />
        <button
          type="button"
          aria-label={t("time.forward")}
          disabled={isNow}
          onClick={step(1)}
        >
          ▶
        </button>
      </div>
      <p class="time-text" role="status">
        <strong>{text}</strong> {!isNow && <span>{t("time.readOnly")}</span>}
      </p>
      {!isNow && (
        <div class="actions">
          <a class="button" href={changed({ at: undefined })}>{t("time.toNow")}</a>
          <a class="button" href={href(["diff"], { from: String(value), at: undefined })}>
            {t("time.diff")}
          </a>
        </div>
      )}
    </>
  );
}

/** The newest revision is now. */
function goTo(revision: number, newest: number): void {
  const then = revision >= newest ? undefined : String(revision);
  go(changed({ at: then }), { replace: true });
}
