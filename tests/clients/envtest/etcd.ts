/**
 * In the place of etcd, for envtest: answers `/health` where `--listen-client-urls` says, until it is told to stop.
 * It stores nothing.
 */
const HELP = `  --data-dir string            ignored: nothing is stored
  --listen-client-urls URLS    where /health is answered
`;

if (Deno.args.includes("--help")) {
  console.log(HELP);
  Deno.exit(0);
}
const given = Deno.args.find((word) => word.startsWith("--listen-client-urls="));
for (const address of given?.slice(given.indexOf("=") + 1).split(",") ?? []) {
  const { hostname, port } = new URL(address);
  Deno.serve({ hostname, port: Number(port), onListen: () => undefined }, (request) => {
    const healthy = new URL(request.url).pathname === "/health";
    return healthy
      ? Response.json({ health: "true", reason: "" })
      : new Response(null, { status: 404 });
  });
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => Deno.exit(0));
}
