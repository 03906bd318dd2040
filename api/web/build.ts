/**
 * `deno task web`: bundles the dashboard with esbuild, as `deno bundle` brings it, into `dist/files.js`. With `--check` it
 * writes nothing and fails where that is not what lies there.
 */
import { bundleText, ICON_SVG, INDEX_HTML } from "./bundle.ts";

const HERE = new URL("./", import.meta.url);
const OUT = new URL("dist/files.js", HERE);

/** In this order. */
const STYLES = ["app/style.css", "app/inside.css"];

/** Bundles what `main.tsx` imports. */
async function bundled(entry: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "-q", "--platform", "browser", "--minify", new URL(entry, HERE).pathname],
    stdout: "piped",
    stderr: "piped",
  }).output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`Cannot bundle ${entry}: ${new TextDecoder().decode(stderr)}`);
}

/** Styles without comments and indentation: the rest is for gzip. */
function smaller(css: string): string {
  return css.replace(/\/\*[^]*?\*\//g, "").replace(/\s*\n\s*/g, "").replace(/;}/g, "}");
}

/** The module as the sources make it now. */
export async function built(): Promise<string> {
  return bundleText({
    "index.html": INDEX_HTML,
    "icon.svg": ICON_SVG,
    "dashboard.css": (await Promise.all(STYLES.map(styles))).join(""),
    "dashboard.js": await bundled("app/main.tsx"),
  });
}

async function styles(file: string): Promise<string> {
  return smaller(await Deno.readTextFile(new URL(file, HERE)));
}

/** What lies there. */
export async function lying(): Promise<string> {
  return await Deno.readTextFile(OUT).catch(() => "");
}

if (import.meta.main) {
  const text = await built();
  const stale = text !== await lying();
  if (Deno.args.includes("--check")) {
    if (stale) throw new Error("api/web/dist/files.js is stale: run `deno task web`");
  } else if (stale) {
    await Deno.mkdir(new URL("dist", HERE), { recursive: true });
    await Deno.writeTextFile(OUT, text);
  }
  console.log(`api/web/dist/files.js: ${stale ? "written" : "up to date"}, ${text.length} bytes`);
}
