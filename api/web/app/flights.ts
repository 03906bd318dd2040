/**
 * Messages on their way, drawn over the map of actors: a dot from the API server to whoever handles it, and a ring where it
 * arrives. Who would rather not see things move sees the ring alone, for a moment.
 */
import { isCalm, now, soon } from "./browser.ts";

const FLIGHT_MS = 650;
const RING_MS = 500;
/** Further messages are not drawn. */
const FLIGHTS_MAX = 200;

/** A place on the map, in pixels. */
export interface Point {
  x: number;
  y: number;
}

interface Flight {
  from: Point;
  to: Point;
  began: number;
  bad: boolean;
}

/** The drawing on one canvas. */
export class Flights {
  readonly #canvas: HTMLCanvasElement;
  #flights: Flight[] = [];
  #drawing = false;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  /** Nobody could follow more. */
  get full(): boolean {
    return this.#flights.length >= FLIGHTS_MAX;
  }

  /** Sends one off. */
  fly(from: Point, to: Point, bad: boolean): void {
    if (this.full) return;
    this.#flights.push({ from, to, bad, began: now() - (isCalm() ? FLIGHT_MS : 0) });
    if (this.#drawing) return;
    this.#drawing = true;
    soon(() => this.#draw());
  }

  #draw(): void {
    const { clientWidth, clientHeight } = this.#canvas;
    const scale = devicePixelRatio;
    const [width, height] = [Math.round(clientWidth * scale), Math.round(clientHeight * scale)];
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const pen = this.#canvas.getContext("2d")!;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, clientWidth, clientHeight);
    const { color: good, borderTopColor: bad } = getComputedStyle(this.#canvas);
    const [time, calm] = [now(), isCalm()];
    this.#flights = this.#flights.filter(({ began }) => time - began < FLIGHT_MS + RING_MS);
    for (const flight of this.#flights) {
      pen.strokeStyle = pen.fillStyle = flight.bad ? bad : good;
      drawOne(pen, flight, { age: time - flight.began, calm });
    }
    pen.globalAlpha = 1;
    this.#drawing = this.#flights.length > 0;
    if (this.#drawing) soon(() => this.#draw());
  }
}

function drawOne(
  pen: CanvasRenderingContext2D,
  { from, to }: Flight,
  { age, calm }: { age: number; calm: boolean },
): void {
  pen.beginPath();
  if (age < FLIGHT_MS) {
    const { x, y } = between(from, to, age / FLIGHT_MS);
    pen.globalAlpha = 0.9;
    pen.arc(x, y, 4, 0, 7);
    pen.fill();
    return;
  }
  const past = calm ? 0.4 : (age - FLIGHT_MS) / RING_MS;
  pen.globalAlpha = 1 - past;
  pen.lineWidth = 2;
  pen.arc(to.x, to.y, 6 + 14 * past, 0, 7);
  pen.stroke();
}

/** Where a dot is: it starts and ends slowly, on a bow. */
function between(from: Point, to: Point, part: number): Point {
  const eased = part * part * (3 - 2 * part);
  const bow = Math.sin(Math.PI * eased) * 24;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  return {
    x: from.x + dx * eased - dy / length * bow,
    y: from.y + dy * eased + dx / length * bow,
  };
}
