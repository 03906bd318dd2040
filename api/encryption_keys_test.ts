/** Values sealed by what a KMS plugin keeps the keys of: a plugin of our own, at a socket, in this process. */
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Buffer } from "node:buffer";
import { Server, status } from "@grpc/grpc-js";
import { bufferOf } from "./client/grpc.ts";
import { schemasOf } from "./client/grpc_messages.ts";
import { listenAt } from "./client/grpc_server_test.ts";
import { encryptionOptions } from "./config/encryption.ts";
import { EncryptionKeys, SEED_KEPT_MS } from "./encryption_keys.ts";
import { createKinds } from "./kinds/mod.ts";
import { KMS_PLUGIN } from "./kms_messages.ts";
import { fromProtobuf, toProtobuf } from "./machinery/protobuf.ts";
import type { KubeObject } from "./machinery/types.ts";
import { openCluster } from "./open_cluster.ts";
import { type Database, DatabaseError, MemoryKv, RealClock } from "../kv/mod.ts";
import { Cluster } from "../mod.ts";

const SECRET = "/registry/secrets/default/a";
const HUSH = "hush, nobody may read this";

// deno-lint-ignore no-explicit-any -- messages as they come
type Message = any;

/** A KMS that turns bytes around, and notes what it is asked. */
class Plugin {
  keyId = "k1";
  healthz = "ok";
  down = false;
  readonly asked: string[] = [];
  readonly #server = new Server();
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<Plugin> {
    const plugin = new Plugin(await Deno.makeTempDir());
    const schemas = schemasOf(KMS_PLUGIN.messages);
    const definitions: Message = {}, handlers: Message = {};
    for (const method of ["Status", "Encrypt", "Decrypt"] as const) {
      definitions[method] = {
        path: `/v2.KeyManagementService/${method}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (value: Buffer) => value,
        requestDeserialize: (bytes: Uint8Array) =>
          fromProtobuf(schemas, `${method}Request`, new Uint8Array(bytes)),
        responseSerialize: (answer: object) =>
          bufferOf(toProtobuf(schemas, `${method}Response`, answer)),
        responseDeserialize: (bytes: Buffer) => bytes,
      };
      handlers[method] = ({ request }: Message, answer: Message) => {
        if (plugin.down) {
          return answer({ code: status.UNAVAILABLE, details: "the vault is closed" });
        }
        plugin.asked.push(method);
        answer(null, plugin[method](request));
      };
    }
    plugin.#server.addService(definitions, handlers);
    await listenAt(`${plugin.#folder}/kms.sock`, plugin.#server);
    return plugin;
  }

  Status() {
    return { version: "v2", healthz: this.healthz, keyId: this.keyId };
  }

  Encrypt({ plaintext }: Message) {
    const ciphertext = turned(plaintext, this.keyId);
    return { ciphertext, keyId: this.keyId, annotations: { "made.by.example": btoa("us") } };
  }

  Decrypt({ ciphertext, keyId, annotations }: Message) {
    assertEquals(annotations, { "made.by.example": btoa("us") });
    return { plaintext: turned(ciphertext, keyId) };
  }

  options(...more: object[]) {
    const kms = { apiVersion: "v2", name: "vault", endpoint: `unix://${this.#folder}/kms.sock` };
    return encryptionOptions(JSON.stringify({
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "EncryptionConfiguration",
      resources: [{ resources: ["secrets"], providers: [...more, { kms }] }],
    }));
  }

  async [Symbol.asyncDispose]() {
    this.#server.forceShutdown();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

function turned(bytes: string, keyId: string): string {
  const pad = keyId.charCodeAt(1);
  return Buffer.from(Buffer.from(bytes, "base64").map((byte) => byte ^ pad)).toString("base64");
}

/** A clock whose time may be moved forward. */
class LateClock extends RealClock {
  late = 0;
  override now() {
    return super.now() + this.late;
  }
  override monotonic() {
    return super.monotonic() + this.late;
  }
}

/** A process on a database. */
async function opened(plugin: Plugin, memory: MemoryKv, options = plugin.options()) {
  const clock = new LateClock();
  const keys = new EncryptionKeys(options, { kinds: createKinds(), clock });
  const database = await openCluster({ kv: memory.open(), keys }, clock);
  const close = async () => {
    await database.close();
    await keys.close();
  };
  return { database, keys, clock, [Symbol.asyncDispose]: close };
}

async function put({ objects }: Database<KubeObject>, text: string): Promise<void> {
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "a" }, data: { a: text } };
  await objects.write((draft) => draft.put(SECRET, secret as unknown as KubeObject));
}

async function get({ objects }: Database<KubeObject>): Promise<string> {
  return ((await objects.fresh()).get(SECRET)!.value as Message).data.a;
}

const idsIn = async ({ seals }: Database<KubeObject>) =>
  (await seals.count()).map(({ id }) => id).sort();

Deno.test("a value is sealed by a seed that only the plugin can decrypt, once for every start", async () => {
  await using plugin = await Plugin.open();
  const memory = new MemoryKv();
  {
    await using one = await opened(plugin, memory);
    await put(one.database, HUSH);
    assertEquals(await get(one.database), HUSH);
  }
  assertEquals(plugin.asked, ["Status", "Encrypt"]);
  for await (const { value } of memory.open().list({ prefix: [] })) {
    if (value instanceof Uint8Array) assert(!Buffer.from(value).includes(HUSH));
  }
  plugin.asked.length = 0;
  {
    await using again = await opened(plugin, memory);
    assertEquals(await get(again.database), HUSH);
    assertEquals(await again.database.seals.migrated(), 0);
  }
  assertEquals(plugin.asked, ["Decrypt", "Status"]);
  plugin.down = true;
  await assertRejects(
    () => opened(plugin, memory),
    DatabaseError,
    "Cannot open what KMS provider vault has encrypted: rpc error: code = Unavailable desc = the vault is closed",
  );
});

Deno.test("another key of the plugin's makes another seed, and everything is sealed anew, for all processes", async () => {
  await using plugin = await Plugin.open();
  const memory = new MemoryKv();
  await using one = await opened(plugin, memory);
  await using other = await opened(plugin, memory);
  await put(one.database, HUSH);
  const [before] = await idsIn(one.database);
  await one.database.seals.reload();
  assertEquals(await idsIn(one.database), [before]);
  plugin.keyId = "k2";
  one.clock.late = 20_001;
  await one.database.seals.reload();
  assertEquals(await one.database.seals.migrated(), 1);
  const [after] = await idsIn(one.database);
  assert(after !== before);
  assertEquals(await get(other.database), HUSH);
  await put(one.database, "and this");
  assertEquals(await get(other.database), "and this");
  // The other one takes the seed that is there
  plugin.asked.length = 0;
  other.clock.late = 20_001;
  await other.database.seals.reload();
  await put(other.database, "from here");
  assertEquals(await get(one.database), "from here");
  assert(!plugin.asked.includes("Encrypt"));
  // The former seed goes once nobody can seal by it any more
  const forget = () => one.keys.forget(() => one.database.seals.count());
  await forget();
  one.clock.late = SEED_KEPT_MS + 60_000;
  await forget();
  plugin.asked.length = 0;
  await using third = await opened(plugin, memory);
  assertEquals(await get(third.database), "from here");
  assertEquals(plugin.asked, ["Decrypt", "Status"]);
});

Deno.test("a plugin that cannot be asked any more does not keep anybody from writing; keys change both ways", async () => {
  await using plugin = await Plugin.open();
  const memory = new MemoryKv();
  await using one = await opened(plugin, memory);
  await put(one.database, HUSH);
  plugin.down = true;
  one.clock.late = 20_001;
  await one.database.seals.reload();
  await put(one.database, "still");
  const [byKms] = await idsIn(one.database);
  const aesgcm = { keys: [{ name: "a", secret: btoa("0123456789abcdef") }] };
  one.keys.use(plugin.options({ aesgcm }));
  await one.database.seals.reload();
  await one.database.seals.migrated();
  assert(!(await idsIn(one.database)).includes(byKms));
  one.keys.use(plugin.options());
  await assertRejects(() => one.database.seals.reload(), DatabaseError, "Cannot do without");
  assertEquals(await get(one.database), "still");
});

Deno.test("what a plugin must not answer is refused before anything is sealed", async () => {
  await using plugin = await Plugin.open();
  const refused = async (text: string) => {
    const error = await assertRejects(() => opened(plugin, new MemoryKv()), DatabaseError);
    assertStringIncludes(error.message, text);
  };
  plugin.healthz = "sealed";
  await refused(
    "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: sealed",
  );
  plugin.healthz = "ok";
  plugin.keyId = "";
  await refused('got invalid KMSv2 KeyID hash "": keyID is empty');
  plugin.keyId = "x".repeat(1025);
  await refused("keyID is 1025 bytes, which exceeds the max size of 1024");
  plugin.keyId = "k1";
  plugin.Encrypt = () => ({ ciphertext: "", keyId: "k9", annotations: { nodots: "" } }) as Message;
  await refused(
    'cannot encrypt: encrypted DEK source is empty, annotations: Invalid value: "nodots": should be a domain, ' +
      "failed to rotate DEK: ",
  );
});

Deno.test("health checks and a fork: the plugin's word is told, and nobody asks it for a fork", async () => {
  await using plugin = await Plugin.open();
  await using cluster = await Cluster.start({
    clock: "real",
    components: ["api"],
    encryption: plugin.options(),
  });
  await cluster.client.create({
    resource: { group: "", version: "v1", plural: "secrets" },
    namespace: "default",
  }, { metadata: { name: "a" }, data: { a: btoa(HUSH) } });
  assertEquals((await cluster.fetch("/readyz/kms-provider-0")).status, 200);
  const verbose = await (await cluster.fetch("/livez?verbose")).text();
  assertStringIncludes(verbose, "[+]kms-provider-0 ok");
  plugin.asked.length = 0;
  await using fork = await cluster.fork();
  const secret = await (await fork.fetch("/api/v1/namespaces/default/secrets/a")).json();
  assertEquals(secret.data.a, btoa(HUSH));
  assertEquals(plugin.asked, []);
});

Deno.test("health checks say what is wrong with a plugin, for a while from memory", async () => {
  await using plugin = await Plugin.open();
  await using one = await opened(plugin, new MemoryKv());
  const check = one.keys.checks(true)["kms-providers"] as () => Promise<void>;
  plugin.down = true;
  await check();
  one.clock.late = 20_001;
  await assertRejects(
    check,
    Error,
    "failed to perform status section of the healthz check for KMS Provider vault, error: rpc error: code = Unavailable",
  );
  plugin.down = false;
  await assertRejects(check);
  one.clock.late += 3_001;
  await check();
});
