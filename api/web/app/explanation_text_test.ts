import { assertEquals } from "@std/assert";
import type { RemedyFact } from "../../client/plesio.ts";
import { queueText, refusalText, remedyText, resultText } from "./explanation_text.ts";
import { language } from "./words.ts";

Deno.test("an explanation is told from facts, in each language; what there are no facts of is told as it is", () => {
  const facts: RemedyFact[] = [
    { what: "amount", resource: "cpu", amount: "500m" },
    { what: "toleration", taint: "only=db:NoSchedule" },
    { what: "not", reason: "broken" },
  ];
  const texts = () => [
    remedyText({ what: "whatever", facts }),
    remedyText({ what: "label a on it" }),
    refusalText("NodeUnschedulable"),
    refusalText("Mine"),
    queueText("backoff"),
    queueText("mine"),
    resultText("Unschedulable"),
  ];
  language.value = "en";
  assertEquals(texts(), [
    "cpu 500m more and a toleration for only=db:NoSchedule and not: broken",
    "label a on it",
    "the node is cordoned",
    "",
    "waits after a failed attempt",
    "mine",
    "found no node",
  ]);
  language.value = "ko";
  assertEquals(texts(), [
    "cpu 500m 더, only=db:NoSchedule에 대한 톨러레이션, 다음이 풀릴 것: broken",
    "label a on it",
    "노드의 스케줄이 막혀 있음",
    "",
    "실패한 시도 뒤 대기",
    "mine",
    "맞는 노드 없음",
  ]);
});
