/** AlwaysAdmit and AlwaysDeny: deprecated upstream, of no use but to try things out, and known to command lines. */
import { refusal } from "../admission.ts";
import type { Admission, AdmissionPlugin } from "../contract.ts";

/** Upstream's AlwaysAdmit. */
export const alwaysAdmit: AdmissionPlugin = { name: "AlwaysAdmit", handles: () => false };

function deny(a: Admission): never {
  throw refusal(a, "admission control is denying all modifications");
}

/** Upstream's AlwaysDeny. */
export const alwaysDeny: AdmissionPlugin = {
  name: "AlwaysDeny",
  handles: () => true,
  mutate: deny,
  validate: deny,
};
