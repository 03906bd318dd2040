/**
 * Clients as people have them, unmodified, each driven by a small program of ours: the quick rows of the table, but for
 * those that `packages_test.ts` runs at the same time. They are skipped where their language or library is missing, never
 * in CI.
 */
import { PACKAGES, testClients } from "./clients.ts";

testClients((name) => !PACKAGES.test(name));
