"""Lists, watches and execs with the unmodified Python client; one line a step, read by the test beside it."""
import os
import sys
import threading
import time

from kubernetes import client, config, watch
from kubernetes.stream import stream

config.load_kube_config(os.environ["KUBECONFIG"])
core = client.CoreV1Api()
ns = "default"

deadline = time.time() + 30
while time.time() < deadline:
    try:
        core.read_namespaced_service_account("default", ns)
        break
    except client.ApiException:
        time.sleep(0.05)

assert len(core.list_node().items) == 2
print("nodes 2", flush=True)

seen = []
started = threading.Event()


def follow():
    watcher = watch.Watch()
    version = core.list_namespaced_config_map(ns).metadata.resource_version
    started.set()
    for event in watcher.stream(core.list_namespaced_config_map, ns, resource_version=version, label_selector="py", timeout_seconds=20):
        seen.append(event["type"])
        if len(seen) == 3:
            watcher.stop()


thread = threading.Thread(target=follow)
thread.start()
started.wait(10)
core.create_namespaced_config_map(ns, {"metadata": {"name": "py", "labels": {"py": "1"}}, "data": {"a": "1"}})
core.patch_namespaced_config_map("py", ns, {"data": {"a": "2"}})
core.delete_namespaced_config_map("py", ns)
thread.join(20)
assert seen == ["ADDED", "MODIFIED", "DELETED"], seen
print("watched", *seen, flush=True)

core.create_namespaced_pod(ns, {
    "metadata": {"name": "py-program"},
    "spec": {"containers": [{"name": "c", "image": "denoland/deno:2.9.6", "args": ["eval", "setInterval(() => {}, 1000)"]}]},
})
while core.read_namespaced_pod("py-program", ns).status.phase != "Running":
    assert time.time() < deadline + 30
    time.sleep(0.05)
answer = stream(core.connect_get_namespaced_pod_exec, "py-program", ns, command=["deno", "eval", "console.log(6*7)"],
                stderr=True, stdin=False, stdout=True, tty=False)
assert answer.strip() == "42", answer
print("exec 42", flush=True)

try:
    core.read_namespaced_pod("nobody", ns)
except client.ApiException as error:
    assert error.status == 404 and 'pods \\"nobody\\" not found' in error.body, error.body
    print("not found", flush=True)
sys.exit(0)
