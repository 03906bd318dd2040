/** An OpenID Connect provider for tests: keys that can be rotated, tokens of any claims, answers to who asks. */
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import type { FakeAnswer, OutboundCall } from "../client/outbound_fixture.ts";

interface Pair {
  kid: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** One provider. */
export class TestProvider {
  readonly issuer: string;
  /** What the discovery document says beside the usual. */
  discovery: Record<string, unknown> = {};
  /** Headers of the keys' answer. */
  keyHeaders: Record<string, string> = {};
  /** Answers nothing but this, when set. */
  broken: FakeAnswer | undefined;
  /** Paths that were asked for. */
  readonly asked: string[] = [];
  #pairs: Pair[] = [];
  #made = 0;

  constructor(issuer = "https://issuer.example") {
    this.issuer = issuer;
    this.rotate();
  }

  /** Signs with a new key from now on; those before are published no longer unless `keep`. */
  rotate({ keep = false } = {}): void {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
    const pair = { kid: `key-${++this.#made}`, privateKey, publicKey };
    this.#pairs = [pair, ...(keep ? this.#pairs : [])];
  }

  /** A token. `header` replaces parts of its header. */
  token(claims: Record<string, unknown>, header: Record<string, unknown> = {}): string {
    const [{ kid, privateKey }] = this.#pairs;
    const head = encoded({ alg: "ES256", kid, typ: "JWT", ...header });
    const body = `${head}.${encoded({ iss: this.issuer, ...claims })}`;
    const signature = signBytes("sha256", Buffer.from(body), {
      key: privateKey,
      dsaEncoding: "ieee-p1363",
    });
    return `${body}.${signature.toString("base64url")}`;
  }

  /** What a GET of a path is answered. */
  answer(path: string): FakeAnswer {
    this.asked.push(path);
    if (this.broken) return this.broken;
    if (path.endsWith("/.well-known/openid-configuration") || path.endsWith("/discovery")) {
      return { json: { issuer: this.issuer, jwks_uri: `${this.issuer}/keys`, ...this.discovery } };
    }
    if (path.endsWith("/keys")) {
      const keys = this.#pairs.map(({ kid, publicKey }) => ({
        ...publicKey.export({ format: "jwk" }),
        kid,
        use: "sig",
        alg: "ES256",
      }));
      return { json: { keys }, headers: this.keyHeaders };
    }
    return { status: 404, text: "not found" };
  }

  /** Stands in for the way out. */
  readonly serve = ({ endpoint }: OutboundCall): FakeAnswer =>
    this.answer(new URL(endpoint.url!).pathname);
}
