import { assertEquals } from "@std/assert";
import type { Hop, HopChange } from "../../client/plesio.ts";
import { changesText, verbText } from "./story_text.ts";
import { language } from "./words.ts";

Deno.test("what a hop did is told from facts, in each language", () => {
  const changes: HopChange[] = [
    { what: "deleting" },
    { what: "field", field: "replicas", from: "2", to: "3" },
    { what: "field", field: "node", to: "plesio-0" },
    { what: "condition", type: "Ready", holds: true },
    { what: "condition", type: "Available", holds: false },
  ];
  const texts = () => [
    changesText({ changes } as unknown as Hop),
    changesText({} as Hop),
    ...["create", "update/status", "create/binding", "replay"].map(verbText),
  ];
  language.value = "en";
  assertEquals(texts(), [
    "is to be deleted, replicas 2 → 3, node plesio-0, Ready, not Available",
    "",
    "create",
    "update/status",
    "create/binding",
    "replay",
  ]);
  language.value = "ko";
  assertEquals(texts(), [
    "삭제 예정, 레플리카 2 → 3, 노드 plesio-0, Ready, Available 아님",
    "",
    "생성",
    "status 갱신",
    "binding 생성",
    "replay",
  ]);
});
