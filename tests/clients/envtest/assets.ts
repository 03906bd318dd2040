/**
 * Stand-ins for what envtest starts: executables `kube-apiserver` and `etcd` (and `kubectl`, if there is one) in
 * a folder for `KUBEBUILDER_ASSETS`. The first translates the arguments that envtest passes and becomes
 * Plesio's API server, in memory; the second answers health checks, because Plesio keeps its state itself.
 *
 * ```sh
 * KUBEBUILDER_ASSETS=$(deno task envtest) go test ./...
 * ```
 */
const HERE = new URL("./", import.meta.url);
const ROOT = new URL("../../../", import.meta.url);

/** Text that a shell takes as one word. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function pathOf(url: URL): string {
  return quoted(decodeURIComponent(url.pathname));
}

const DENO = quoted(Deno.execPath());

/**
 * Of kube-apiserver's arguments some have another name here, and some mean nothing: there is no other store, and
 * every pod may ask for privileges.
 */
const KUBE_APISERVER = `#!/bin/sh
# Plesio's API server in the place of kube-apiserver, for envtest.
certificates=
own=
for given do
  shift
  case "$given" in
    --secure-port=*) set -- "$@" "--port=\${given#*=}" ;;
    --bind-address=*) set -- "$@" "--host=\${given#*=}" ;;
    --cert-dir=*) certificates=\${given#*=} ;;
    --tls-cert-file=*) own=1; set -- "$@" "$given" ;;
    --etcd-*=* | --allow-privileged=* | --advertise-address=* | --v=* | --vmodule=*) ;;
    *) set -- "$@" "$given" ;;
  esac
done
# As kube-apiserver: what lies in its folder of certificates is what it serves with.
if [ -z "$own" ] && [ -f "$certificates/apiserver.crt" ]; then
  set -- "$@" "--tls-cert-file=$certificates/apiserver.crt" "--tls-private-key-file=$certificates/apiserver.key"
fi
exec ${DENO} run -A --v8-flags=--max-semi-space-size=64,--heap-growing-percent=100,--expose-gc ${
  pathOf(new URL("mod.ts", ROOT))
} start --memory --nodes=0 --components=api --kubeconfig=/dev/null "$@"
`;

const ETCD = `#!/bin/sh
# In the place of etcd, for envtest: Plesio's API server keeps its state itself.
exec ${DENO} run -A ${pathOf(new URL("etcd.ts", HERE))} "$@"
`;

/** Writes the stand-ins into a folder. */
export async function writeAssets(folder: string): Promise<void> {
  if (Deno.build.os === "windows") throw new TypeError("Cannot write shell scripts for Windows");
  await Deno.mkdir(folder, { recursive: true });
  for (const [name, text] of [["kube-apiserver", KUBE_APISERVER], ["etcd", ETCD]]) {
    await Deno.writeTextFile(`${folder}/${name}`, text);
    await Deno.chmod(`${folder}/${name}`, 0o755);
  }
  const kubectl = await new Deno.Command("sh", { args: ["-c", "command -v kubectl"] }).output();
  if (!kubectl.success) return;
  const target = new TextDecoder().decode(kubectl.stdout).trim();
  await Deno.remove(`${folder}/kubectl`).catch(() => undefined);
  await Deno.symlink(target, `${folder}/kubectl`);
}

if (import.meta.main) {
  const folder = Deno.args[0] ?? `${decodeURIComponent(ROOT.pathname)}.plesio/envtest`;
  await writeAssets(folder);
  console.log(folder);
}
