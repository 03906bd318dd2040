/** Every text of the dashboard, in every language: English, then Korean. A test sees that none is missing. */

/** The languages, in the order of the texts. */
export const LANGUAGES = ["en", "ko"] as const;

/** What each calls itself. */
export const LANGUAGE_NAMES: Readonly<Record<typeof LANGUAGES[number], string>> = {
  en: "English",
  ko: "한국어",
};

export const TEXTS = {
  // What surrounds everything
  skip: ["Skip to the content", "본문으로 건너뛰기"],
  menu: ["Menu", "메뉴"],
  navigation: ["Navigation", "탐색"],
  logout: ["Log out", "로그아웃"],
  theme: ["Theme", "테마"],
  "theme.auto": ["Automatic", "자동"],
  "theme.light": ["Light", "밝게"],
  "theme.dark": ["Dark", "어둡게"],
  language: ["Language", "언어"],
  loading: ["Loading…", "불러오는 중…"],
  close: ["Close", "닫기"],
  cancel: ["Cancel", "취소"],
  create: ["Create", "만들기"],
  apply: ["Apply", "적용"],
  reset: ["Reset", "되돌리기"],
  download: ["Download", "내려받기"],
  dryRun: ["Dry run", "시험 실행"],
  search: ["Search", "검색"],
  name: ["Name", "이름"],
  namespace: ["Namespace", "네임스페이스"],
  allNamespaces: ["All namespaces", "모든 네임스페이스"],
  image: ["Image", "이미지"],
  replicas: ["Replicas", "복제본 수"],

  // Logging in
  login: ["Log in", "로그인"],
  "login.how": [
    "Open the link that the server printed when it started, or print a new one on the server's machine:",
    "서버가 시작할 때 출력한 링크를 열거나, 서버가 있는 컴퓨터에서 새 링크를 출력하세요:",
  ],
  "login.token": ["Or paste a token", "또는 토큰 붙여넣기"],
  "login.hint": [
    "A bearer token, or a kubeconfig that holds one. It stays in this tab.",
    "베어러 토큰, 또는 토큰이 들어 있는 kubeconfig. 이 탭에만 보관됩니다.",
  ],
  "login.enter": ["Log in", "로그인"],
  "login.noToken": ["There is no token in this text.", "이 글에는 토큰이 없습니다."],
  "login.used": [
    "This link has been used or is too old. Print a new one.",
    "이미 사용했거나 만료된 링크입니다. 새 링크를 출력하세요.",
  ],
  "login.unreachable": ["The server does not answer.", "서버가 응답하지 않습니다."],
  "login.expired": [
    "The server does not accept this token, or no longer.",
    "서버가 이 토큰을 받아들이지 않습니다. 만료되었을 수 있습니다.",
  ],

  // Sections of kinds
  "section.workloads": ["Workloads", "워크로드"],
  "section.network": ["Network", "네트워크"],
  "section.configuration": ["Configuration", "구성"],
  "section.storage": ["Storage", "스토리지"],
  "section.cluster": ["Cluster", "클러스터"],
  "section.access": ["Access", "접근 권한"],
  "section.core": ["Other core kinds", "기타 기본 종류"],

  // Pages
  overview: ["Overview", "개요"],
  "overview.pods": ["Pods by status", "상태별 파드"],
  deploy: ["Deploy", "배포"],
  "deploy.form": ["A new workload", "새 워크로드"],
  "deploy.port": ["Port (a Service is made for it)", "포트 (서비스도 만듭니다)"],
  "deploy.write": ["Write the YAML", "YAML 작성"],
  "deploy.paste": ["Paste one or more objects as YAML", "하나 이상의 객체를 YAML로 붙여넣으세요"],
  "deploy.created": ["applied", "적용됨"],
  "deploy.wouldBe": ["would be applied (dry run)", "적용될 것입니다 (시험 실행)"],
  list: ["List", "목록"],
  "list.noKind": ["The server has no such kind.", "서버에 그런 종류가 없습니다."],
  "list.count": ["{shown} of {all}", "{all}개 중 {shown}개"],
  columns: ["Columns", "열"],
  labelSelector: ["Label selector", "레이블 셀렉터"],
  fieldSelector: ["Field selector", "필드 셀렉터"],
  object: ["Object", "객체"],
  "object.gone": ["There is no such object.", "그런 객체가 없습니다."],
  "object.parts": ["Parts of the object", "객체의 부분"],

  // Panels of an object
  "panel.summary": ["Summary", "요약"],
  "panel.yaml": ["YAML", "YAML"],
  metadata: ["Metadata", "메타데이터"],
  created: ["Created", "생성"],
  deleting: ["Being deleted since", "삭제 시작"],
  revision: ["Resource version", "리소스 버전"],
  labels: ["Labels", "레이블"],
  annotations: ["Annotations", "어노테이션"],
  finalizers: ["Finalizers", "파이널라이저"],
  conditions: ["Conditions", "컨디션"],
  events: ["Events", "이벤트"],
  "events.none": ["Nothing has been told lately.", "최근 이벤트가 없습니다."],
  "yaml.review": ["Review the change", "변경 검토"],
  "yaml.mode": ["How it is written", "쓰는 방법"],
  "yaml.mode.apply": ["Apply: what is not here stays", "적용: 여기 없는 것은 그대로"],
  "yaml.mode.replace": ["Replace: what is not here goes", "교체: 여기 없는 것은 삭제"],
  "yaml.force": ["Take over the fields in conflict", "충돌한 필드 소유권 가져오기"],
  "yaml.difference": ["What would change", "바뀌는 내용"],
  "yaml.applied": ["Applied.", "적용했습니다."],
  "difference.none": ["Nothing would change.", "바뀌는 것이 없습니다."],
  "difference.removed": ["removed", "삭제"],
  "difference.added": ["added", "추가"],
  "difference.gap": ["… {count} lines the same", "… 같은 줄 {count}개"],

  // Actions
  "action.done": ["{action}: {name}", "{action}: {name}"],
  "action.scale": ["Scale", "규모 조정"],
  "action.restart": ["Restart", "재시작"],
  "action.restart.sure": [
    "Replace all pods of {name}, a few at a time?",
    "{name}의 모든 파드를 차례로 교체할까요?",
  ],
  "action.pause": ["Pause", "일시 중지"],
  "action.resume": ["Resume", "재개"],
  "action.cordon": ["Cordon", "스케줄 막기"],
  "action.uncordon": ["Uncordon", "스케줄 풀기"],
  "action.suspend": ["Suspend", "보류"],
  "action.unsuspend": ["Resume", "재개"],
  "action.delete": ["Delete", "삭제"],
  "action.delete.sure": [
    "Delete {name}? What it owns goes too.",
    "{name}을(를) 삭제할까요? 소유한 것도 함께 삭제됩니다.",
  ],
} as const satisfies Record<string, readonly [string, string]>;
