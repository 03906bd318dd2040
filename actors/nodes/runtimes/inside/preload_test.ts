/** Every call that the preload module maps, a row each, tried in a process of its own. */
import { assertEquals } from "@std/assert";

/** What is called → an expression that is true when it was mapped. Volume at /data, everything else in a root. */
const PATHS: Record<string, string> = {
  writeTextFile: `(await Deno.writeTextFile("/data/a", "1"), true)`,
  readTextFile: `await Deno.readTextFile("/data/a") === "1"`,
  readTextFileSync: `Deno.readTextFileSync("/data/a") === "1"`,
  writeFileSync: `(Deno.writeFileSync("/data/b", new Uint8Array(2)), true)`,
  readFile: `(await Deno.readFile("/data/b")).length === 2`,
  "a file: URL": `Deno.readTextFileSync(new URL("file:///data/a")) === "1"`,
  open: `(Deno.openSync("/data/a").close(), (await Deno.open("/data/a")).close(), true)`,
  create: `(Deno.createSync("/data/c").close(), true)`,
  mkdir:
    `(await Deno.mkdir("/data/d/e", { recursive: true }), Deno.statSync("/data/d/e").isDirectory)`,
  readDir: `[...Deno.readDirSync("/data")].map((e) => e.name).sort().join() === "a,b,c,d"`,
  stat: `(await Deno.stat("/data/a")).isFile && Deno.lstatSync("/data/a").isFile`,
  rename: `(await Deno.rename("/data/c", "/data/d/c"), Deno.statSync("/data/d/c").isFile)`,
  copyFile: `(Deno.copyFileSync("/data/a", "/data/f"), Deno.readTextFileSync("/data/f") === "1")`,
  link: `(Deno.linkSync("/data/a", "/data/g"), Deno.statSync("/data/g").isFile)`,
  truncate: `(await Deno.truncate("/data/f", 0), Deno.statSync("/data/f").size === 0)`,
  chmod: `(Deno.chmodSync("/data/f", 0o600), (Deno.statSync("/data/f").mode & 0o777) === 0o600)`,
  utime: `(await Deno.utime("/data/f", 1, 1), Deno.statSync("/data/f").mtime.getTime() === 1000)`,
  realPath:
    `await Deno.realPath("/data/a") === "/data/a" && Deno.realPathSync("/data/d") === "/data/d"`,
  remove: `(await Deno.remove("/data/g"), !existsSync("/data/g"))`,
  "another path is the root's":
    `(Deno.writeTextFileSync("/x", "y"), Deno.readTextFileSync("/x") === "y")`,
  chdir: `(Deno.chdir("/data"), Deno.cwd() === "/data" && Deno.readTextFileSync("a") === "1")`,
  "node:fs, sync": `fs.readFileSync("/data/a", "utf8") === "1" && fs.existsSync("/data/a")`,
  "node:fs, promises": `await fs.promises.readFile("/data/a", "utf8") === "1"`,
  "node:fs, callback":
    `await new Promise((r) => fs.readFile("/data/a", "utf8", (_, t) => r(t === "1")))`,
};

const NETWORK: Record<string, string> = {
  "Deno.listen":
    `(() => { const l = Deno.listen({ port: 0 }); const { hostname } = l.addr; l.close();
    return hostname === ip; })()`,
  "Deno.listen, wildcard": `(() => { const l = Deno.listen({ port: 0, hostname: "0.0.0.0" });
    const { hostname } = l.addr; l.close(); return hostname === ip; })()`,
  "Deno.serve (handler)": `await served((h) => Deno.serve(h))`,
  "Deno.serve (options)":
    `await served((handler) => Deno.serve({ port: 0, onListen() {}, handler }))`,
  "Deno.serve (options, handler)": `await served((h) => Deno.serve({ port: 0, onListen() {} }, h))`,
  "fetch, localhost":
    `await (async () => { const s = Deno.serve({ port: 0, onListen() {} }, () => new Response("x"));
    const text = await (await fetch("http://localhost:" + s.addr.port)).text(); await s.shutdown();
    return text === "x"; })()`,
  "Deno.connect": `await (async () => { const l = Deno.listen({ port: 0 });
    const c = await Deno.connect({ port: l.addr.port }); const { hostname } = c.remoteAddr;
    c.close(); l.close(); return hostname === ip; })()`,
  "node:net listen(port)": `await listening((s) => s.listen(0))`,
  "node:net listen(port, host)": `await listening((s) => s.listen(0, "0.0.0.0"))`,
  "node:net listen(port, callback)": `await listening((s) => s.listen(0, () => {}))`,
  "node:net listen(options)": `await listening((s) => s.listen({ port: 0, host: "::" }))`,
  "node:net listen()": `await listening((s) => s.listen())`,
  "node:http listen": `await listening((s) => s.listen(0), http.createServer())`,
  "node:net connect":
    `await new Promise((resolve) => { const s = net.createServer((c) => c.end("x"));
    s.listen(0, () => net.connect(s.address().port, "localhost", function () {
      resolve(this.remoteAddress === ip); this.destroy(); s.close(); })); })`,
  "another address is left alone":
    `(() => { const l = Deno.listen({ port: 0, hostname: "127.0.0.77" });
    const { hostname } = l.addr; l.close(); return hostname === "127.0.0.77"; })()`,
};

/** Of a pod with two addresses: what answers at both, and what at the first alone. */
const FAMILIES: Record<string, string> = {
  "Deno.serve, all of both": `await answered(Deno.serve({ port: 0, hostname: "::", onListen() {} },
    () => new Response("x")).addr.port) === 2`,
  "Deno.serve, all of IPv4": `await answered(Deno.serve({ port: 0, onListen() {} },
    () => new Response("x")).addr.port) === 1`,
  "Deno.serve ends at both": `await (async () => {
    const s = Deno.serve({ port: 0, hostname: "::", onListen() {} }, () => new Response("x"));
    await s.shutdown(); return await answered(s.addr.port) === 0; })()`,
  "node:http listen(port)": `await new Promise((resolve) => {
    const s = http.createServer((_, r) => r.end("x"));
    s.listen(0, () => setImmediate(async () => resolve(await answered(s.address().port) === 2))); })`,
  "node:http listen(port, IPv4)": `await new Promise((resolve) => {
    const s = http.createServer((_, r) => r.end("x"));
    s.listen(0, "0.0.0.0", async () => resolve(await answered(s.address().port) === 1)); })`,
};

const HEAD = `
import fs, { existsSync as exists } from "node:fs";
import net from "node:net";
import http from "node:http";
const ip = "127.0.0.9";
const existsSync = (path) => fs.existsSync(path);
const served = async (start) => {
  const server = start(() => new Response("x"));
  const { hostname } = server.addr;
  await server.shutdown();
  return hostname === ip;
};
const listening = (start, server = net.createServer()) => new Promise((resolve, reject) => {
  server.on("error", reject);
  server.on("listening", () => { resolve(server.address().address === ip); server.close(); });
  start(server);
});
const answered = async (port) => {
  let count = 0;
  // Written out it is no name of this machine's that would be mapped
  for (const hostname of [ip, "0:0:0:0:0:0:0:1"]) {
    count += await Deno.connect({ hostname, port }).then((c) => (c.close(), 1), () => 0);
  }
  return count;
};
console.log = () => {};
const results = {};
`;

async function run(rows: Record<string, string>, inside: object, folder: string) {
  const tried = Object.entries(rows).map(([name, expression]) =>
    `try { results[${JSON.stringify(name)}] = ${expression}; }
     catch (error) { results[${JSON.stringify(name)}] = String(error); }`
  );
  const program = `${folder}/program.mjs`;
  const report =
    "Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(results))); Deno.exit(0);";
  await Deno.writeTextFile(program, HEAD + tried.join("\n") + report);
  const preload = new URL("./preload.ts", import.meta.url).pathname;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--quiet", `--preload=${preload}`, program],
    env: { PLESIO_ISOLATE: JSON.stringify({ parent: Deno.pid, ...inside }) },
    cwd: folder,
  }).output();
  const text = new TextDecoder().decode(stdout);
  if (!text) throw new Error(new TextDecoder().decode(stderr));
  const results = JSON.parse(text);
  assertEquals(results, Object.fromEntries(Object.keys(rows).map((name) => [name, true])));
}

Deno.test({
  name: "preload maps what listens and connects to the pod's address",
  ignore: Deno.build.os === "darwin",
  fn: async () => {
    const folder = await Deno.makeTempDir();
    await run(NETWORK, { ip: "127.0.0.9" }, folder);
    await run(FAMILIES, { ip: "127.0.0.9", six: "0:0:0:0:0:0:0:1" }, folder);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test("preload maps paths to the volumes and the container's root", async () => {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  await Deno.mkdir(`${folder}/root`);
  await Deno.mkdir(`${folder}/volume`);
  await run(PATHS, { root: `${folder}/root`, paths: [["/data", `${folder}/volume`]] }, folder);
  await Deno.remove(folder, { recursive: true });
});
