/** Values over time as lines. What the picture shows is also said in words. */
import type { Point } from "../metrics.ts";
import { moment, t } from "../words.ts";

const WIDTH = 480;
const HEIGHT = 120;
/** Colours there are. */
const COLOURS = 4;

/** One line. */
export interface PlotLine {
  name: string;
  points: readonly Point[];
}

type Place = readonly [x: number, y: number];

/** Of one value alone there is a short line, where else nothing would be seen. */
const ALONE = 6;

function drawn(places: readonly Place[]): string {
  const [[x, y] = [0, 0]] = places;
  const all = places.length === 1 ? [[x - ALONE, y], [x, y]] : places;
  return all.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
}

/** Several lines over the same time. */
export function Plot(
  { title, lines, text, top }: {
    title: string;
    lines: readonly PlotLine[];
    text: (value: number) => string;
    /** The highest that can be; default: what was seen. */
    top?: number;
  },
) {
  const all = lines.flatMap(({ points }) => points);
  const most = Math.max(...all.map(({ value }) => value), top ?? 0, 1e-9);
  const from = Math.min(...all.map(({ at }) => at));
  const to = Math.max(...all.map(({ at }) => at));
  const x = (at: number) => to === from ? WIDTH : (at - from) / (to - from) * WIDTH;
  const y = (value: number) => HEIGHT - value / most * (HEIGHT - 8) - 2;
  const said = lines.map(({ name, points }) =>
    `${name}: ${points.length ? text(points.at(-1)!.value) : t("plot.none")}`
  ).join(", ");
  return (
    <figure class="plot">
      <figcaption>
        <span>{title}</span>
        <span class="quiet">{text(most)}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title}. ${said}`}
      >
        <line class="plot-base" x1="0" x2={WIDTH} y1={HEIGHT - 1} y2={HEIGHT - 1} />
        {lines.map(({ name, points }, i) => (
          <polyline
            key={name}
            class={`plot-${i % COLOURS + 1}`}
            points={drawn(points.map(({ at, value }): Place => [x(at), y(value)]))}
          />
        ))}
      </svg>
      <p class="legend">
        {lines.map(({ name, points }, i) => (
          <span key={name}>
            <i class={`swatch plot-${i % COLOURS + 1}`} /> {name}{" "}
            <strong>{points.length ? text(points.at(-1)!.value) : "–"}</strong>
          </span>
        ))}
        {all.length > 1 && <span class="quiet">{t("plot.since", { time: moment(from) })}</span>}
      </p>
    </figure>
  );
}
