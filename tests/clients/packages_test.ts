/** What installs packages, as `clients_test.ts`: Helm 3, Helm 4, kustomize. */
import { PACKAGES, testClients } from "./clients.ts";

testClients((name) => PACKAGES.test(name));
