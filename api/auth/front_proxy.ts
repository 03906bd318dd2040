/**
 * How servers behind APIServices know this one: a client certificate of an authority that signs nothing else. Whoever
 * trusts it believes the headers that say whose request is passed on, so that it is not the cluster's own authority,
 * whose certificates many hold. Made at first use, kept sealed in the database's settings, renewed in time.
 */
import type { Clock } from "../../kv/clock.ts";
import { change, type Settings } from "./material.ts";
import { createAuthority, issueClient, type Issued, renewAt } from "./pki.ts";

const AUTHORITY = "pki/front-proxy-authority";
const CLIENT = "pki/front-proxy-client";

/** The name in the certificate, which extension servers are told to allow. */
export const FRONT_PROXY_NAME = "front-proxy-client";

/** See the module's text. */
export class FrontProxy {
  readonly #settings: Settings;
  readonly #clock: Clock;
  #opened: Promise<{ authority: Issued; client: Issued }> | undefined;
  #until = 0;

  constructor(settings: Settings, clock: Clock) {
    this.#settings = settings;
    this.#clock = clock;
  }

  /** The certificate and key to show, in PEM. */
  async identity(): Promise<{ cert: string; key: string }> {
    const { client } = await this.#material();
    return { cert: client.certificatePem, key: client.keyPem };
  }

  /** Whom extension servers are to trust, in PEM. */
  async authorityPem(): Promise<string> {
    return (await this.#material()).authority.certificatePem;
  }

  #material(): Promise<{ authority: Issued; client: Issued }> {
    if (this.#opened && this.#clock.now() < this.#until) return this.#opened;
    this.#until = Infinity;
    return this.#opened = this.#open().then((found) => {
      this.#until = renewAt(found.client);
      return found;
    }, (error) => {
      this.#opened = undefined;
      throw error;
    });
  }

  async #open(): Promise<{ authority: Issued; client: Issued }> {
    const settings = this.#settings;
    const authority = await change<Issued>(
      settings,
      AUTHORITY,
      async (kept) => kept ?? await createAuthority(this.#clock, { commonName: "front-proxy-ca" }),
    );
    const client = await change<Issued>(settings, CLIENT, async (kept) => {
      const now = this.#clock.now();
      if (kept && now < renewAt(kept) && now >= kept.notBefore) return kept;
      return await issueClient(authority, this.#clock, { commonName: FRONT_PROXY_NAME });
    });
    return { authority, client };
  }
}

/** What extension servers read to know whom to believe: the ConfigMap `kube-system/extension-apiserver-authentication`. */
export function authenticationData(
  { clientAuthorityPem, frontProxyPem }: { clientAuthorityPem: string; frontProxyPem: string },
): Record<string, string> {
  return {
    "client-ca-file": clientAuthorityPem,
    "requestheader-allowed-names": JSON.stringify([FRONT_PROXY_NAME]),
    "requestheader-client-ca-file": frontProxyPem,
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-uid-headers": '["X-Remote-Uid"]',
    "requestheader-username-headers": '["X-Remote-User"]',
  };
}
