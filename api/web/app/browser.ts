/** The browser, as the dashboard uses it: the only file that touches network, time and storage. */

/** Sends a request. */
export const send = (request: Request): Promise<Response> => fetch(request);

/** Wall time in ms. */
export const now = (): number => Date.now();

/** Calls later; returns how to leave it. */
export function later(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms);
  return () => clearTimeout(timer);
}

/** Calls again and again while the page is looked at; returns how to end it. */
export function every(ms: number, then: () => void): () => void {
  const timer = setInterval(() => {
    if (!document.hidden) then();
  }, ms);
  return () => clearInterval(timer);
}

/** Waits; earlier when the signal says so. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      leave();
      signal?.removeEventListener("abort", over);
      resolve();
    };
    const leave = later(signal?.aborted ? 0 : ms, over);
    signal?.addEventListener("abort", over);
  });
}

/** Before the next picture is drawn. */
export const soon = (then: () => void): void => void requestAnimationFrame(then);

/** Whether somebody would rather not see things move. */
export const isCalm = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Opens a WebSocket to this server. */
export function socket(path: string, protocols: string[]): WebSocket {
  const ws = new WebSocket(`${location.origin.replace(/^http/, "ws")}${path}`, protocols);
  ws.binaryType = "arraybuffer";
  return ws;
}

/** What lasts as long as this tab: credentials. */
export const tab: Pick<Storage, "getItem" | "setItem" | "removeItem"> = sessionStorage;

/** What lasts longer: how somebody likes to see things. */
export const liked: Pick<Storage, "getItem" | "setItem"> = localStorage;

/** Opens a tab that knows nothing of this one. */
export const newTab = (address: string): void =>
  void open(address, "_blank", "noopener,noreferrer");

/** Gives the user a file. */
export function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  later(1_000, () => URL.revokeObjectURL(url));
}
