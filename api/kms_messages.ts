/**
 * What a KMS plugin speaks, as facts: version 2 of Kubernetes' protocol. Names and numbers of fields are those of
 * `k8s.io/kms/apis/v2/api.proto`.
 */
import type { RpcFacts } from "./client/grpc.ts";

const MESSAGES = {
  StatusRequest: "",
  StatusResponse: "version=1 healthz=2 keyId=3",
  DecryptRequest: "ciphertext=1:bytes uid=2 keyId=3 annotations=4:{bytes}",
  DecryptResponse: "plaintext=1:bytes",
  EncryptRequest: "plaintext=1:bytes uid=2",
  EncryptResponse: "ciphertext=1:bytes keyId=2 annotations=3:{bytes}",
} as const;

/** A KMS plugin. */
export const KMS_PLUGIN: RpcFacts<typeof MESSAGES> = {
  messages: MESSAGES,
  services: { "v2.KeyManagementService": ["Status", "Decrypt", "Encrypt"] },
};
