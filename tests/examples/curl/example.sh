#!/usr/bin/env bash
# A test of a Deployment with nothing but curl, against `deno task start --test-kit` and the KUBECONFIG that it wrote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

field() { sed -n "s/^ *$1: *//p" "$KUBECONFIG" | head -n 1 | tr -d "\"'"; }
server=$(field server)
for pair in ca:certificate-authority-data cert:client-certificate-data key:client-key-data; do
  field "${pair#*:}" | base64 -d >"$folder/${pair%%:*}"
done

# METHOD PATH [BODY]: prints what is answered, and fails where that is no success.
ask() {
  curl --silent --show-error --fail-with-body --user-agent curl-example/1 \
    --cacert "$folder/ca" --cert "$folder/cert" --key "$folder/key" \
    --request "$1" --header 'content-type: application/json' ${3:+--data "$3"} "$server$2"
}
has() { grep -q "$1" || { echo "expected $1" >&2; exit 1; }; }

apps=/apis/apps/v1/namespaces/default/deployments
web='{"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
  "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}}'

ask POST /plesio/v1/reset >/dev/null
ask POST $apps "$web" >/dev/null
ask POST /plesio/v1/settle '{"within": "10s"}' >/dev/null
ask GET $apps/web | has '"readyReplicas": *3'
echo settle

ask POST /plesio/v1/clock '{"advance": "1h30m"}' | has '"advanced":"1h30m0s"'
ask POST /plesio/v1/clock '{"until": {"path": "'$apps'/web", "cel": "object.status.readyReplicas == 3"}}' >/dev/null
# A year ahead: certificates keep to this machine's time
ask POST /plesio/v1/clock '{"jump": "9000h"}' >/dev/null
ask GET $apps/web >/dev/null
echo clock

ask POST /plesio/v1/forks '{"name": "curl"}' >/dev/null
ask DELETE /plesio/v1/forks/curl$apps/web >/dev/null
ask POST /plesio/v1/forks/curl/plesio/v1/settle '{}' >/dev/null
ask GET /plesio/v1/forks/curl$apps | has '"items": *\[\]'
ask GET $apps/web >/dev/null
ask DELETE /plesio/v1/forks/curl >/dev/null
echo fork

ask POST /plesio/v1/faults '{"name": "busy", "client": "curl-example", "verb": "get", "times": 1, "status": 503}' >/dev/null
! ask GET $apps/web >"$folder/answer" 2>/dev/null || exit 1
has '"reason": *"ServiceUnavailable"' <"$folder/answer"
ask GET $apps/web >/dev/null
ask GET /plesio/v1/faults/busy | has '"struck":1'
echo faults

ask POST /plesio/v1/ledger/check '{"client": "curl-example"}' >/dev/null
for _ in $(seq 20); do ask GET $apps/web >/dev/null; done
! ask POST /plesio/v1/ledger/check '{"client": "curl-example"}' >"$folder/answer" 2>/dev/null || exit 1
has 'asked the same again and again' <"$folder/answer"
echo ledger

ask POST /plesio/v1/reset >/dev/null
ask GET $apps | has '"items": *\[\]'
echo reset
